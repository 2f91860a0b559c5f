#pragma once

#include <string_view>

#include "api/embeddings/request.h"
#include "api/generation/dialect.h"
#include "api/generation/model_directory.h"

namespace mlxd::api::embeddings {

struct ParseOptions {
  Endpoint endpoint = Endpoint::embeddings;
  bool lenient = false;
  double max_timeout_seconds = 300;
};

// Reads a body along the endpoint's table; its writer answers what becomes of the texts.
Result<ParsedRequest> parse_request(std::string_view body, const ParseOptions& options,
                                    const ModelDirectory& models);

}  // namespace mlxd::api::embeddings
