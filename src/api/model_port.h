#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "serve/generation.h"

namespace mlxd {
struct GenerateRequest;
struct ServedModel;
}  // namespace mlxd

namespace mlxd::api {

// The events of one accepted prompt. One thread at a time; destroying it cancels.
class EventSource {
 public:
  virtual ~EventSource() = default;
  virtual std::optional<StreamEvent> try_next() = 0;  // never blocks
  virtual void cancel() = 0;
};

// All that this room knows of a served model. Tests put a script in its place. Every function may
// be called on any thread; `start` belongs on the text pool.
class ModelPort {
 public:
  virtual ~ModelPort() = default;
  virtual const std::string& id() const = 0;
  virtual const std::vector<std::string>& aliases() const = 0;
  virtual const std::string& fingerprint() const = 0;
  virtual long created() const = 0;  // Unix time
  virtual const RunnerInfo& info() const = 0;
  virtual EngineStats stats() const = 0;
  virtual bool is_special(int token) const = 0;  // as Tokenizer::is_special
  // `on_ready` as in Engine::submit.
  virtual Result<std::unique_ptr<EventSource>> start(const GenerateRequest& request,
                                                     std::function<void()> on_ready) = 0;
};

// `model` must outlive the port.
std::unique_ptr<ModelPort> make_model_port(ServedModel& model);

// The models that are served, found by id or alias.
class ModelDirectory {
 public:
  explicit ModelDirectory(std::vector<std::unique_ptr<ModelPort>> models);
  const std::vector<std::unique_ptr<ModelPort>>& all() const { return models_; }
  ModelPort* find(std::string_view id_or_alias) const;  // null when there is none
  // 404 model_not_found, with the ids that are there.
  Error not_found(std::string_view name) const;

 private:
  std::vector<std::unique_ptr<ModelPort>> models_;
};

}  // namespace mlxd::api
