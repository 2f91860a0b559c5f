// api/text: questions about texts, in the words of llama-server and vLLM: /tokenize, /detokenize,
// /apply-template, /tokenizer_info, and how many tokens a chat request has. Each is a Query; a chat
// is read by the same code as a request for an answer (openai/parse_request.h). Errors have
// OpenAI's shape, as they do in both servers.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "api/generation/query.h"

namespace mlxd::api {

struct ApiOptions;

std::vector<std::unique_ptr<Query>> text_queries(const ApiOptions& options);

// One each. With `lenient`, unknown keys are ignored.
std::unique_ptr<Query> tokenize_query(bool lenient);
std::unique_ptr<Query> detokenize_query(bool lenient);
std::unique_ptr<Query> apply_template_query(bool lenient);
std::unique_ptr<Query> count_chat_query(bool lenient);
std::unique_ptr<Query> tokenizer_info_query(bool lenient, std::string_view method);

}  // namespace mlxd::api
