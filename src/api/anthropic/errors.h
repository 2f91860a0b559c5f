#pragma once

#include <string>

#include "base/error.h"

namespace mlxd::api::anthropic {

// Too much to do, now: 529 here.
Error in_own_terms(Error error);

// {"type":"error","error":{"type","message"},"request_id"}, with the types that Anthropic's clients
// know. The message names the field at fault: this shape has no other place for it.
std::string error_json(const Error& error);

}  // namespace mlxd::api::anthropic
