#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/request_parts.h"
#include "serve/request.h"

namespace mlxd::api::embeddings {

enum class Endpoint { embeddings, rerank, score, ollama_embed, ollama_embeddings };

inline bool is_ollama(Endpoint endpoint) {
  return endpoint == Endpoint::ollama_embed || endpoint == Endpoint::ollama_embeddings;
}

// A request while it is read.
struct Fields : UnknownKeys {
  std::string model;
  std::vector<EmbedInput> inputs;          // `input` or `prompt`
  std::vector<std::string> first, second;  // of a score; of a rerank the query and the documents
  bool base64 = false;
  int dimensions = 0;
  std::optional<int> longest;  // truncate_prompt_tokens; -1: the context
  bool add_special = true;
  int most_results = 0;  // top_n; 0: all
  bool return_documents = true;
  int priority = 0;
  float timeout_seconds = 0;         // 0: not sent
  std::optional<double> keep_alive;  // seconds; Ollama's
};

}  // namespace mlxd::api::embeddings
