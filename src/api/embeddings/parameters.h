#pragma once

#include <span>

#include "api/embeddings/request.h"
#include "api/parameter_rules.h"

namespace mlxd::api::embeddings {

using Parameter = ParameterRow<Fields>;

inline constexpr std::size_t kMaxTexts = 2048;  // OpenAI's own bound

// Of the endpoint's body.
std::span<const Parameter> parameters(Endpoint endpoint);

}  // namespace mlxd::api::embeddings
