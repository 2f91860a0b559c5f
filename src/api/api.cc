#include "api/api.h"

#include <utility>

#include "api/admin/handlers.h"
#include "api/core.h"
#include "api/errors.h"
#include "api/generation/handler.h"
#include "api/generation/query.h"
#include "api/ollama/errors.h"

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

void Api::add(std::unique_ptr<Query> query) { state_->queries.push_back(std::move(query)); }

void Api::mount(http::Router& router) {
  for (const auto& dialect : state_->dialects) {
    mount_generation(router, state_->generation, *dialect);
  }
  for (const auto& query : state_->queries) mount_query(router, state_->generation, *query);
  responses::mount_stored(router, state_->stored);
  mount_admin(router, *state_);
}

http::Handler Api::index(const http::Router& router) { return index_handler(router); }

void Api::drain() { state_->draining = true; }

void Api::set_server_stats(std::function<http::ServerStats()> stats) {
  std::lock_guard lock(state_->mutex);
  state_->server_stats = std::move(stats);
}

std::function<std::string(std::string_view path, const Error& error)> Api::http_error_body() const {
  return [&state = *state_](std::string_view path, const Error& error) {
    for (const auto& dialect : state.dialects) {
      if (dialect->path() == path) return dialect->error_body(error);
    }
    for (const auto& query : state.queries) {
      if (query->path() == path) return query->error_body(error);
    }
    // Paths of Ollama's that there are not here.
    if (path.starts_with("/api/")) return ollama::error_body(error);
    return error_json(error);
  };
}

}  // namespace mlxd::api
