#include "api/api.h"

#include <utility>

#include "api/admin/handlers.h"
#include "api/core.h"
#include "api/errors.h"
#include "api/openai/handlers.h"

namespace mlxd::api {
struct Api::State : Core {
  using Core::Core;
};

Api::Api(ApiOptions options, Metrics& metrics, ModelPool& models)
    : state_(std::make_unique<State>(std::move(options), metrics, ModelDirectory(models))) {}

Api::Api(ApiOptions options, Metrics& metrics, std::vector<std::unique_ptr<ModelPort>> models)
    : state_(std::make_unique<State>(std::move(options), metrics,
                                     ModelDirectory(std::move(models)))) {}

Api::~Api() = default;

void Api::mount(http::Router& router) {
  mount_openai(router, *state_);
  mount_admin(router, *state_);
}

void Api::drain() { state_->draining = true; }

void Api::set_server_stats(std::function<http::ServerStats()> stats) {
  std::lock_guard lock(state_->mutex);
  state_->server_stats = std::move(stats);
}

std::string http_error_body(int status, const std::string& code, const std::string& message) {
  Error error;
  error.status = status;
  error.code = code;
  error.message = message;
  return error_json(error);
}

}  // namespace mlxd::api
