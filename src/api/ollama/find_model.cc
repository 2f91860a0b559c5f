#include "api/ollama/find_model.h"

#include <utility>

#include <fmt/format.h>

#include "api/errors.h"

namespace mlxd::api::ollama {
namespace {

template <class LookUp>
auto find_tagged(std::string_view name, LookUp look_up) -> decltype(look_up(name)) {
  constexpr std::string_view kLatest = ":latest";
  if (name.empty()) return bad_value("model", "model is required");
  auto model = look_up(name);
  if (model || model.error().status != 404) return model;
  if (name.ends_with(kLatest)) {
    auto untagged = look_up(name.substr(0, name.size() - kLatest.size()));
    if (untagged || untagged.error().status != 404) return untagged;
  }
  Error error = model.error();
  error.message = fmt::format("model '{:.200}' not found. {}", name, error.message);
  return error;
}

}  // namespace

Result<LeasedModel> find_model(std::string_view name, const ModelDirectory& models) {
  return find_tagged(name, [&](std::string_view tagged) { return models.find(tagged); });
}

Result<std::shared_ptr<const ModelFacts>> find_facts(std::string_view name,
                                                     const ModelDirectory& models) {
  auto status =
      find_tagged(name, [&](std::string_view tagged) { return models.status_of(tagged); });
  if (!status) return status.error();
  return std::move(status->model);
}

}  // namespace mlxd::api::ollama
