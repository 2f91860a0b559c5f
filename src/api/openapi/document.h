// openapi: the server's API as an OpenAPI document. What a request may have comes from the tables
// by which it is read; endpoints stand in a table of their own (operations.cc), and what neither
// says in JSON: the answers, and what is inside of fields.
#pragma once

#include <string>
#include <string_view>

namespace mlxd::api::openapi {

// In JSON. `version` is the program's.
std::string document(std::string_view version);

}  // namespace mlxd::api::openapi
