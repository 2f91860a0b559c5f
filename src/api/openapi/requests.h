#pragma once

#include <boost/json/object.hpp>

namespace mlxd::api::openapi {

// The schema of each endpoint's body, by its name, made of the tables that bodies are read by.
boost::json::object request_schemas();

// The fields of a request to /v1/responses that its answer repeats, by their names.
boost::json::object repeated_fields();

}  // namespace mlxd::api::openapi
