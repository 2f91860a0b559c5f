#pragma once

#include <memory>
#include <string_view>

#include "api/generation/model_directory.h"
#include "base/error.h"

namespace mlxd::api::ollama {

// The model of a name, which may have the tag ":latest". Refuses as ModelDirectory::find does, and
// an empty name with 400.
Result<LeasedModel> find_model(std::string_view name, const ModelDirectory& models);

// What such a name stands for, loaded or not, as ModelDirectory::status_of.
Result<std::shared_ptr<const ModelFacts>> find_facts(std::string_view name,
                                                     const ModelDirectory& models);

}  // namespace mlxd::api::ollama
