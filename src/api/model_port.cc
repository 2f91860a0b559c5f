#include "api/model_port.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "serve/service.h"

namespace mlxd::api {
namespace {

class GenerationSource final : public EventSource {
 public:
  explicit GenerationSource(Generation generation) : generation_(std::move(generation)) {}
  std::optional<StreamEvent> try_next() override { return generation_.try_next(); }
  void cancel() override { generation_.cancel(); }

 private:
  Generation generation_;
};

class ServedModelPort final : public ModelPort {
 public:
  explicit ServedModelPort(ServedModel& model) : model_(model), service_(model) {}

  const std::string& id() const override { return model_.id; }
  const std::vector<std::string>& aliases() const override { return model_.aliases; }
  const std::string& fingerprint() const override { return model_.fingerprint; }
  long created() const override { return model_.created; }
  const RunnerInfo& info() const override { return model_.engine->info(); }
  EngineStats stats() const override { return model_.engine->stats(); }
  bool is_special(int token) const override { return model_.tokenizer->is_special(token); }

  Result<std::unique_ptr<EventSource>> start(const GenerateRequest& request,
                                             std::function<void()> on_ready) override {
    auto generation = service_.start(request, std::move(on_ready));
    if (!generation) return generation.error();
    return std::unique_ptr<EventSource>(std::make_unique<GenerationSource>(*std::move(generation)));
  }

 private:
  ServedModel& model_;
  Service service_;
};

}  // namespace

std::unique_ptr<ModelPort> make_model_port(ServedModel& model) {
  return std::make_unique<ServedModelPort>(model);
}

ModelDirectory::ModelDirectory(std::vector<std::unique_ptr<ModelPort>> models)
    : models_(std::move(models)) {}

ModelPort* ModelDirectory::find(std::string_view id_or_alias) const {
  for (const auto& model : models_) {
    const auto& aliases = model->aliases();
    if (model->id() == id_or_alias ||
        std::find(aliases.begin(), aliases.end(), id_or_alias) != aliases.end()) {
      return model.get();
    }
  }
  return nullptr;
}

Error ModelDirectory::not_found(std::string_view name) const {
  std::vector<std::string_view> ids;
  for (const auto& model : models_) ids.push_back(model->id());
  Error error;
  error.status = 404;
  error.code = "model_not_found";
  error.param = "model";
  error.message = fmt::format("The model '{:.200}' is not served here; send one of: {}.", name,
                              fmt::join(ids, ", "));
  return error;
}

}  // namespace mlxd::api
