#pragma once

#include <boost/json/object.hpp>

#include "api/ollama/request.h"
#include "base/error.h"

namespace mlxd::api::ollama {

// Reads a body by the endpoint's table; `options` has one of its own. Errors name the parameter.
Result<void> read_body(const boost::json::object& body, Endpoint endpoint, Fields& fields);

}  // namespace mlxd::api::ollama
