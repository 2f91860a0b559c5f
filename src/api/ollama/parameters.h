#pragma once

#include <span>

#include <boost/json/object.hpp>

#include "api/ollama/request.h"
#include "api/parameter_rules.h"
#include "base/error.h"

namespace mlxd::api::ollama {

using Parameter = ParameterRow<Fields>;

// Of the endpoint's body, and of its `options`.
std::span<const Parameter> parameters(Endpoint endpoint);
std::span<const Parameter> option_parameters();

// Reads a body by the endpoint's table; `options` has one of its own. Errors name the parameter.
Result<void> read_body(const boost::json::object& body, Endpoint endpoint, Fields& fields);

}  // namespace mlxd::api::ollama
