#pragma once

#include <string>

#include "base/error.h"

namespace mlxd::api::ollama {

// {"error": message}
std::string error_body(const Error& error);

// A server that has too much to do says 503.
Error in_own_terms(Error error);

}  // namespace mlxd::api::ollama
