#include "api/generation/model_directory.h"

#include <algorithm>
#include <utility>

namespace mlxd::api {

ModelDirectory::ModelDirectory(std::vector<LeasedModel> models) : models_(std::move(models)) {}

bool ModelDirectory::started() const { return pool_ == nullptr || pool_->started(); }

std::vector<LeasedModel> ModelDirectory::ready() const {
  if (pool_ == nullptr) return models_;
  std::vector<ModelLease> leases = pool_->ready();
  return {leases.begin(), leases.end()};
}

Result<LeasedModel> ModelDirectory::find(std::string_view id_or_alias) const {
  if (pool_ != nullptr) {
    Result<ModelLease> lease = pool_->lease(id_or_alias);
    if (!lease) return lease.error();
    return LeasedModel(*std::move(lease));
  }
  std::vector<std::string_view> ids;
  for (const LeasedModel& model : models_) {
    const auto& aliases = model->aliases;
    if (model->id == id_or_alias || std::ranges::find(aliases, id_or_alias) != aliases.end()) {
      return model;
    }
    ids.push_back(model->id);
  }
  return model_not_found(id_or_alias, ids);
}

}  // namespace mlxd::api
