// api/ollama: Ollama's API. /api/chat and /api/generate are dialects (dialect.cc): their bodies are
// read by the tables in parameters.cc, and answered by wire.cc, by default as a stream of JSON
// lines. What is asked of the models that there are (models.cc) are queries. Errors are {"error":
// text} with Ollama's statuses.
#pragma once

#include <memory>
#include <vector>

#include "api/generation/dialect.h"
#include "api/generation/query.h"

namespace mlxd::api {
struct ApiOptions;
}

namespace mlxd::api::ollama {

// /api/chat and /api/generate.
std::vector<std::unique_ptr<Dialect>> dialects(const ApiOptions& options);
// GET /api/tags, /api/ps and /api/version, and POST /api/show.
std::vector<std::unique_ptr<Query>> queries(const ApiOptions& options);

}  // namespace mlxd::api::ollama
