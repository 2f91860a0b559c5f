// Anthropic's Messages API. A body goes through parse_request (parameters.h has its table, the
// read_*.cc one file for each part), its blocks become the turns of a chat (turns.h); deltas become
// blocks again (blocks.h), and these JSON (wire.h).
#pragma once

#include <memory>

#include "api/generation/dialect.h"
#include "api/generation/query.h"

namespace mlxd::api {
struct ApiOptions;
}

namespace mlxd::api::anthropic {

std::unique_ptr<Dialect> messages(const ApiOptions& options);  // /v1/messages
std::unique_ptr<Query> count_tokens();                         // /v1/messages/count_tokens

}  // namespace mlxd::api::anthropic
