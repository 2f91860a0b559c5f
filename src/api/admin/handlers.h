#pragma once

namespace mlxd::http {
class Router;
}

namespace mlxd::api {

struct Core;

// GET /health (open to all), /version, /metrics, /v1/models and /v1/models/{id}.
void mount_admin(http::Router& router, Core& core);

}  // namespace mlxd::api
