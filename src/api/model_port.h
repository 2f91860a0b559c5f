#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "models/model_pool.h"
#include "serve/generation.h"

namespace mlxd {
struct GenerateRequest;
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

// A model that stays ready while this is held: each handler holds one for the life of its request.
using LeasedModel = std::shared_ptr<ModelPort>;

// The models that are served, found by id or alias.
class ModelDirectory {
 public:
  explicit ModelDirectory(ModelPool& pool) : pool_(&pool) {}  // `pool` outlives the directory
  // Models that are always ready, for tests.
  explicit ModelDirectory(std::vector<std::unique_ptr<ModelPort>> models);

  bool started() const;                    // false while the models of the start are loaded
  std::vector<LeasedModel> ready() const;  // for who looks at them
  // Refuses with 404 model_not_found, with the ids that are there, and with 503 as ModelPool::lease
  // does.
  Result<LeasedModel> find(std::string_view id_or_alias) const;

 private:
  ModelPool* pool_ = nullptr;
  std::vector<LeasedModel> models_;
};

}  // namespace mlxd::api
