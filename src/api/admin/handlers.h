#pragma once

namespace mlxd::http {
class Router;
}

namespace mlxd::api {

struct Core;

// GET /health (open to all), /version, /metrics, /v1/models and /v1/models/{id}.
void mount_admin(http::Router& router, Core& core);

// "GET /", for whoever looks what this is: names it and lists what the router has so far, and so
// comes last.
void mount_index(http::Router& router);

}  // namespace mlxd::api
