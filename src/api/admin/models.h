#pragma once

#include "http/router.h"

namespace mlxd::api {

struct Core;

// GET /v1/models and /v1/models/{id}.
void mount_models(http::Router& router, Core& core);

}  // namespace mlxd::api
