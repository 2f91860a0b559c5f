#pragma once

namespace mlxd::http {
class Router;
}

namespace mlxd::api {

struct Core;

// POST /v1/chat/completions and /v1/completions.
void mount_openai(http::Router& router, Core& core);

}  // namespace mlxd::api
