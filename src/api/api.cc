#include "api/api.h"

#include <utility>

#include "api/admin/handlers.h"
#include "api/core.h"
#include "api/errors.h"
#include "api/generation/handler.h"

namespace mlxd::api {

struct Api::State : Core {
  using Core::Core;
};

Api::Api(ApiOptions options, Metrics& metrics, ModelPool& models)
    : state_(std::make_unique<State>(std::move(options), metrics, ModelDirectory(models))) {}

Api::Api(ApiOptions options, Metrics& metrics, std::vector<std::shared_ptr<TextModel>> models)
    : state_(std::make_unique<State>(std::move(options), metrics,
                                     ModelDirectory(std::move(models)))) {}

Api::~Api() = default;

void Api::add(std::unique_ptr<Dialect> dialect) { state_->dialects.push_back(std::move(dialect)); }

void Api::mount(http::Router& router) {
  for (const auto& dialect : state_->dialects) {
    mount_generation(router, state_->generation, *dialect);
  }
  responses::mount_stored(router, state_->stored);
  mount_admin(router, *state_);
  mount_index(router);
}

void Api::drain() { state_->draining = true; }

void Api::set_server_stats(std::function<http::ServerStats()> stats) {
  std::lock_guard lock(state_->mutex);
  state_->server_stats = std::move(stats);
}

std::function<std::string(std::string_view path, const Error& error)> Api::http_error_body() const {
  return [&dialects = state_->dialects](std::string_view path, const Error& error) {
    for (const auto& dialect : dialects) {
      if (dialect->path() == path) return dialect->error_body(error);
    }
    return error_json(error);
  };
}

}  // namespace mlxd::api
