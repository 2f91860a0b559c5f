#include "api/generation/model_directory.h"

#include <utility>

namespace mlxd::api {

ModelDirectory::ModelDirectory(std::vector<LeasedModel> models) : models_(std::move(models)) {}

ModelDirectory ModelDirectory::for_request(AwaitedModel& awaited) const {
  ModelDirectory own = *this;
  own.awaited_ = &awaited;
  return own;
}

bool ModelDirectory::started() const { return pool_ == nullptr || pool_->started(); }

std::vector<LeasedModel> ModelDirectory::ready() const {
  if (pool_ == nullptr) return models_;
  std::vector<ModelLease> leases = pool_->ready();
  return {leases.begin(), leases.end()};
}

std::vector<ModelStatus> ModelDirectory::status() const {
  if (pool_ != nullptr) return pool_->status();
  std::vector<ModelStatus> all;
  for (const LeasedModel& model : models_) {
    ModelStatus& status = all.emplace_back();
    status.model = model;
    status.state = ModelState::ready;
    status.pinned = true;
  }
  return all;
}

std::vector<std::shared_ptr<const ModelFacts>> ModelDirectory::all() const {
  std::vector<std::shared_ptr<const ModelFacts>> all;
  for (const ModelStatus& each : status()) all.push_back(each.model);
  return all;
}

Result<ModelStatus> ModelDirectory::status_of(std::string_view id_or_alias) const {
  if (!started()) return models_loading();
  const auto models = status();
  const auto found =
      find_named(models, id_or_alias,
                 [](const ModelStatus& each) -> const ModelFacts& { return *each.model; });
  if (found != models.end()) return *found;
  std::vector<std::string_view> ids;
  for (const ModelStatus& each : models) ids.emplace_back(each.model->id);
  return model_not_found(id_or_alias, ids);
}

Result<LeasedModel> ModelDirectory::find(std::string_view id_or_alias) const {
  if (awaited_ != nullptr) awaited_->asked = id_or_alias;
  if (pool_ != nullptr) {
    if (awaited_ != nullptr && awaited_->model && awaited_->name == id_or_alias) {
      return awaited_->model;
    }
    Result<ModelLease> lease = pool_->lease(id_or_alias);
    if (lease) return LeasedModel(*std::move(lease));
    if (awaited_ != nullptr && lease.error().status == 503 && pool_->started()) {
      awaited_->name = id_or_alias;
      awaited_->model = nullptr;
    }
    return std::move(lease).error();
  }
  const auto found = find_named(models_, id_or_alias,
                                [](const auto& model) -> const ModelFacts& { return *model; });
  if (found == models_.end()) return status_of(id_or_alias).error();
  return *found;
}

std::uint64_t ModelDirectory::load(std::string_view id_or_alias, TimePoint deadline,
                                   Done done) const {
  if (pool_ == nullptr) {
    done(find(id_or_alias));
    return 0;
  }
  return pool_->acquire(id_or_alias, deadline, [done = std::move(done)](Result<ModelLease> lease) {
    done(lease ? Result<LeasedModel>(LeasedModel(*std::move(lease)))
               : Result<LeasedModel>(std::move(lease).error()));
  });
}

void ModelDirectory::withdraw(std::uint64_t load) const {
  if (pool_ != nullptr) pool_->withdraw(load);
}

void ModelDirectory::unload(std::string_view id_or_alias, ModelPool::Gone done) const {
  if (pool_ != nullptr) return pool_->unload(id_or_alias, std::move(done));
  const auto status = status_of(id_or_alias);
  done(status ? Result<void>() : Result<void>(status.error()));
}

void ModelDirectory::keep_alive(std::string_view id_or_alias, double seconds) const {
  if (pool_ != nullptr) pool_->keep_alive(id_or_alias, seconds);
}

std::size_t ModelDirectory::memory_reserved() const {
  return pool_ == nullptr ? 0 : pool_->memory_reserved();
}

std::size_t ModelDirectory::memory_bound() const {
  return pool_ == nullptr ? 0 : pool_->memory_bound();
}

}  // namespace mlxd::api
