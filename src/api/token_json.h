// OpenAI's shape of tokens with their log-probabilities, which its endpoints share.
#pragma once

#include <string>
#include <vector>

#include "serve/text_delta.h"

namespace mlxd::api {

class JsonWriter;

// A token as it is shown: its text, or "token_id:N".
std::string token_text(int token, const std::string& bytes, bool as_id);

// [{"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}, ...]}, ...]
void write_token_logprobs(JsonWriter& json, const std::vector<TokenDetail>& tokens, bool as_ids);

}  // namespace mlxd::api
