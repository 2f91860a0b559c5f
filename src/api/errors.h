#pragma once

#include <string>

#include "base/error.h"
#include "http/exchange.h"

namespace mlxd::api {

// {"error":{"message","type","param","code"}} as OpenAI words it; what is empty becomes null.
std::string error_json(const Error& error);

// The answer that carries it, with Retry-After where the error has one; a 504 without one has
// "x-should-retry: false".
http::Response error_response(const Error& error);

// A client's mistake in one parameter: status 400, code "invalid_value".
Error bad_value(std::string param, std::string message);

}  // namespace mlxd::api
