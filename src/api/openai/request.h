#pragma once

#include <string>
#include <vector>

#include "api/generation/dialect.h"

namespace mlxd::api {

enum class Endpoint { chat, completions };

// What a request says about the shape of its answer.
struct WireOptions {
  Endpoint endpoint = Endpoint::chat;
  bool include_usage = false;
  bool continuous_usage = false;  // every chunk says how many tokens there are so far
  bool logprobs = false;          // shown to the client
  bool token_ids = false;         // token strings become "token_id:N"
  bool legacy_functions = false;  // a call is a `function_call`
};

// A body as it was read. `request` lacks the writer and the headers, which are made of the rest.
struct OpenAiRequest {
  ParsedRequest request;
  WireOptions wire;
  std::string seed;                  // decimal, as the client may send it to repeat the answer
  std::vector<std::string> ignored;  // unknown keys that the lenient setting let pass
};

}  // namespace mlxd::api
