// api/embeddings: what is made of whole texts. OpenAI's /v1/embeddings, Ollama's /api/embed and its
// older /api/embeddings, /rerank as Jina, Cohere and vLLM have it, and vLLM's /score. Each has a
// table in parameters.cc, is read by parse_request.cc and answered by wire.cc. A cross-encoder
// scores pairs itself; of a model that embeds, a pair's score is the cosine of the two vectors, as
// vLLM does it.
#pragma once

#include <memory>
#include <vector>

#include "api/generation/dialect.h"

namespace mlxd::api {

struct ApiOptions;

std::vector<std::unique_ptr<Dialect>> embedding_dialects(const ApiOptions& options);

}  // namespace mlxd::api
