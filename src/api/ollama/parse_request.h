#pragma once

#include <string_view>

#include "api/generation/dialect.h"
#include "api/ollama/request.h"
#include "base/error.h"

namespace mlxd::api::ollama {

struct ParseOptions {
  Endpoint endpoint = Endpoint::chat;
  bool lenient = false;  // unknown keys are collected instead of refused
  double timeout_seconds = 300;
};

// A body of /api/chat or /api/generate, with the writer of its answer. One without messages or
// prompt asks for nothing but the model. Errors name the parameter: 400, or 404 for the model. Any
// thread.
Result<ParsedRequest> parse_request(std::string_view body, const ParseOptions& options,
                                    const ModelDirectory& models);

}  // namespace mlxd::api::ollama
