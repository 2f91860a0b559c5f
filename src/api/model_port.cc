#include "api/model_port.h"

#include <algorithm>
#include <iterator>
#include <utility>

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
  explicit ServedModelPort(ModelLease model) : model_(std::move(model)), service_(*model_) {}

  const std::string& id() const override { return model_->id; }
  const std::vector<std::string>& aliases() const override { return model_->aliases; }
  const std::string& fingerprint() const override { return model_->fingerprint; }
  long created() const override { return model_->created; }
  const RunnerInfo& info() const override { return model_->engine->info(); }
  EngineStats stats() const override { return model_->engine->stats(); }
  bool is_special(int token) const override { return model_->tokenizer->is_special(token); }

  Result<std::unique_ptr<EventSource>> start(const GenerateRequest& request,
                                             std::function<void()> on_ready) override {
    auto generation = service_.start(request, std::move(on_ready));
    if (!generation) return generation.error();
    return std::unique_ptr<EventSource>(std::make_unique<GenerationSource>(*std::move(generation)));
  }

 private:
  const ModelLease model_;
  Service service_;
};

}  // namespace

ModelDirectory::ModelDirectory(std::vector<std::unique_ptr<ModelPort>> models)
    : models_(std::make_move_iterator(models.begin()), std::make_move_iterator(models.end())) {}

bool ModelDirectory::started() const { return pool_ == nullptr || pool_->started(); }

std::vector<LeasedModel> ModelDirectory::ready() const {
  if (pool_ == nullptr) return models_;
  std::vector<LeasedModel> models;
  for (ModelLease& lease : pool_->ready()) {
    models.push_back(std::make_shared<ServedModelPort>(std::move(lease)));
  }
  return models;
}

Result<LeasedModel> ModelDirectory::find(std::string_view id_or_alias) const {
  if (pool_ != nullptr) {
    Result<ModelLease> lease = pool_->lease(id_or_alias);
    if (!lease) return lease.error();
    return LeasedModel(std::make_shared<ServedModelPort>(*std::move(lease)));
  }
  std::vector<std::string_view> ids;
  for (const LeasedModel& model : models_) {
    const auto& aliases = model->aliases();
    if (model->id() == id_or_alias ||
        std::find(aliases.begin(), aliases.end(), id_or_alias) != aliases.end()) {
      return model;
    }
    ids.push_back(model->id());
  }
  return model_not_found(id_or_alias, ids);
}

}  // namespace mlxd::api
