#pragma once

#include "api/generation/dialect.h"
#include "api/generation/shared.h"

namespace mlxd::http {
class Router;
}

namespace mlxd::api {

// Adds POST at the dialect's path. `shared` and `dialect` must outlive the router's exchanges.
void mount_generation(http::Router& router, GenerationShared& shared, const Dialect& dialect);

}  // namespace mlxd::api
