#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/model_port.h"
#include "serve/service.h"

namespace mlxd::api {

enum class Endpoint { chat, completions };

// What a request says about the shape of its answer; the rest is in its GenerateRequests.
struct WireOptions {
  Endpoint endpoint = Endpoint::chat;
  bool stream = false;
  bool include_usage = false;
  bool logprobs = false;   // shown to the client
  int top_logprobs = 0;    // alternatives shown
  bool token_ids = false;  // token strings become "token_id:N"
  int choices = 1;         // shown for each prompt (n)
  int samples = 1;         // drawn for each prompt (best_of), >= choices
};

// A request that passed every check that needs no tokeniser.
struct ParsedRequest {
  LeasedModel model;
  std::vector<GenerateRequest> prompts;  // one of chat; one for each prompt of completions
  WireOptions wire;
  std::string seed;  // decimal, as the client may send it to repeat the answer
  double timeout_seconds = 0;
  std::vector<std::string> ignored;  // unknown keys that the lenient setting let pass
};

}  // namespace mlxd::api
