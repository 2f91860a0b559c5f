#pragma once

#include <span>
#include <string>

#include "api/parameter_rules.h"
#include "api/request_parts.h"

namespace mlxd::api::ollama {

// A request to /api/show while it is read, and the rows by which it is.
struct ShowFields : UnknownKeys {
  std::string model;
};
using ShowRow = ParameterRow<ShowFields>;
std::span<const ShowRow> show_parameters();

}  // namespace mlxd::api::ollama
