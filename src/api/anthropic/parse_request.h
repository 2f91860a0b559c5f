#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/anthropic/wire.h"
#include "api/generation/dialect.h"
#include "base/error.h"

namespace mlxd::api {
class ModelDirectory;
}

namespace mlxd::api::anthropic {

// A body as it was read. `request` lacks the writer and the headers, which are made of the rest.
struct MessagesRequest {
  ParsedRequest request;
  WireOptions wire;
  std::string seed;                  // decimal, as the client may send it to repeat the answer
  std::vector<std::string> ignored;  // what was sent and has no effect
};

// A body of /v1/messages, checked against the parameter table and across parameters. Errors name
// the parameter: 400, or 404 for the model. Any thread.
Result<MessagesRequest> parse_messages(std::string_view body, double timeout_seconds,
                                       const ModelDirectory& models);

// A body of /v1/messages/count_tokens, of which only the prompt matters.
Result<ParsedRequest> parse_count_tokens(std::string_view body, const ModelDirectory& models);

}  // namespace mlxd::api::anthropic
