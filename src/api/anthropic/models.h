#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "serve/model_card.h"

namespace mlxd::api::anthropic {

// The list of GET /v1/models as Anthropic's clients read it, with every name that a model has as an
// entry: some clients offer only those that begin as they know it. `query` is the request's, with
// limit (20, at most 1000), after_id and before_id; errors are 400.
Result<std::string> models_json(const std::vector<std::shared_ptr<const ModelFacts>>& models,
                                std::string_view query);

// One entry, under the name that was asked for.
std::string model_json(const ModelFacts& model, std::string_view name);

}  // namespace mlxd::api::anthropic
