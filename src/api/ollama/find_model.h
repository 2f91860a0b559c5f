#pragma once

#include <string_view>

#include "api/generation/model_directory.h"
#include "base/error.h"

namespace mlxd::api::ollama {

// The model of a name, which may have the tag ":latest". Refuses as ModelDirectory::find does, and
// an empty name with 400.
Result<LeasedModel> find_model(std::string_view name, const ModelDirectory& models);

}  // namespace mlxd::api::ollama
