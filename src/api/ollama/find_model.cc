#include "api/ollama/find_model.h"

#include <fmt/format.h>

#include "api/errors.h"

namespace mlxd::api::ollama {

Result<LeasedModel> find_model(std::string_view name, const ModelDirectory& models) {
  constexpr std::string_view kLatest = ":latest";
  if (name.empty()) return bad_value("model", "model is required");
  auto model = models.find(name);
  if (model || model.error().status != 404) return model;
  if (name.ends_with(kLatest)) {
    auto untagged = models.find(name.substr(0, name.size() - kLatest.size()));
    if (untagged || untagged.error().status != 404) return untagged;
  }
  Error error = model.error();
  error.message = fmt::format("model '{:.200}' not found. {}", name, error.message);
  return error;
}

}  // namespace mlxd::api::ollama
