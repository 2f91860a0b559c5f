#pragma once

#include "http/router.h"

namespace mlxd::api {

struct Core;

// GET /health (open to all), /version, /metrics, and what is asked of models.
void mount_admin(http::Router& router, Core& core);

// See Api::index.
http::Handler index_handler(const http::Router& router);

}  // namespace mlxd::api
