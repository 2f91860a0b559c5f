// api/responses: OpenAI's /v1/responses. A body is read by a table (parameters.h) and its items
// become the messages of a chat (read_input.cc, conversation.h); what is answered becomes items
// (output.h) and a response object (writer.h), which the store keeps for the next turn.
#pragma once

#include <memory>

#include "api/generation/dialect.h"
#include "api/generation/query.h"
#include "api/responses/response_store.h"

namespace mlxd::http {
class Router;
}

namespace mlxd::api {
struct ApiOptions;
}

namespace mlxd::api::responses {

std::unique_ptr<Dialect> make_dialect(const ApiOptions& options,
                                      std::shared_ptr<ResponseStore> store);

// How many tokens the input of such a request has: /v1/responses/input_tokens.
std::unique_ptr<Query> count_input(const ApiOptions& options, std::shared_ptr<ResponseStore> store);

// GET and DELETE of stored responses at /v1/responses/{id}.
void mount_stored(http::Router& router, std::shared_ptr<ResponseStore> store);

}  // namespace mlxd::api::responses
