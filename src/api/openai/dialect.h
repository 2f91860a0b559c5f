#pragma once

#include <memory>
#include <vector>

#include "api/generation/dialect.h"

namespace mlxd::api {

struct ApiOptions;

// OpenAI's /v1/chat/completions and /v1/completions.
std::vector<std::unique_ptr<Dialect>> openai_dialects(const ApiOptions& options);

}  // namespace mlxd::api
