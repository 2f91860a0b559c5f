#pragma once

#include <span>
#include <string>
#include <string_view>

#include "api/parameter_rules.h"
#include "api/request_parts.h"
#include "http/router.h"
#include "models/model_pool.h"

namespace mlxd::api {

// A request to load or unload a model while it is read, and the rows by which it is.
struct NamedModel : UnknownKeys {
  std::string model;
};
using NameRow = ParameterRow<NamedModel>;
std::span<const NameRow> model_name_parameters();

struct Core;

// As llama-server names them: "unloaded", "loading", "loaded", ...
std::string_view name_of(ModelState state);

// For the server's administrator: what is loaded (GET
// /v1/admin/models), as events whenever that changes (GET /v1/admin/events), and what is to be
// (POST /v1/admin/models/load and /v1/admin/models/unload, which answer when it is so).
void mount_model_states(http::Router& router, Core& core);

}  // namespace mlxd::api
