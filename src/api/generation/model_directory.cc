#include "api/generation/model_directory.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mlxd::api {

ModelDirectory::ModelDirectory(std::vector<std::shared_ptr<TextModel>> models)
    : models_(std::move(models)) {}

std::shared_ptr<TextModel> ModelDirectory::find(std::string_view id_or_alias) const {
  for (const auto& model : models_) {
    const auto& aliases = model->aliases;
    if (model->id == id_or_alias ||
        std::find(aliases.begin(), aliases.end(), id_or_alias) != aliases.end()) {
      return model;
    }
  }
  return nullptr;
}

Error ModelDirectory::not_found(std::string_view name) const {
  std::vector<std::string_view> ids;
  for (const auto& model : models_) ids.push_back(model->id);
  Error error;
  error.status = 404;
  error.code = "model_not_found";
  error.param = "model";
  error.message = fmt::format("The model '{:.200}' is not served here; send one of: {}.", name,
                              fmt::join(ids, ", "));
  return error;
}

}  // namespace mlxd::api
