#pragma once

#include <string_view>

#include "http/router.h"
#include "models/model_pool.h"

namespace mlxd::api {

struct Core;

// As llama-server names them: "unloaded", "loading", "loaded", ...
std::string_view name_of(ModelState state);

// For who runs the server, and by the rules of ApiOptions::administrators: what is loaded (GET
// /v1/admin/models), as events whenever that changes (GET /v1/admin/events), and what is to be
// (POST /v1/admin/models/load and /v1/admin/models/unload, which answer when it is so).
void mount_model_states(http::Router& router, Core& core);

}  // namespace mlxd::api
