#include "api/admin/handlers.h"

#include <string>
#include <string_view>
#include <utility>

#include "api/admin/model_states.h"
#include "api/admin/models.h"
#include "api/core.h"
#include "api/errors.h"
#include "api/json_writer.h"
#include "api/openapi/document.h"
#include "base/system_memory.h"
#include "http/router.h"

namespace mlxd::api {
namespace {

void write_stats(JsonWriter& json, const std::string& id, const EngineStats& stats) {
  json.begin_object();
  json.member("id", id);
  json.member("healthy", stats.healthy);
  json.member("queued_requests", stats.queued_requests);
  json.member("running_sequences", stats.running_sequences);
  json.member("kv_blocks_used", stats.kv_blocks_used);
  json.member("kv_blocks_total", stats.kv_blocks_total);
  json.member("heartbeat_age_seconds", stats.heartbeat_age_seconds);
  json.end_object();
}

http::Response health(Core& core) {
  http::Response response;
  std::string models;
  JsonWriter list(models);
  bool healthy = true;
  list.begin_array();
  for (const auto& model : core.models.ready()) {
    const auto stats = model->stats();
    healthy = healthy && stats.healthy;
    write_stats(list, model->id, stats);
  }
  list.end_array();

  const bool draining = core.draining;
  const bool loading = !core.models.started();
  if (!healthy || draining || loading) response.status = 503;
  JsonWriter json(response.body);
  json.begin_object();
  json.member("status", loading    ? "loading"
                        : !healthy ? "unhealthy"
                        : draining ? "draining"
                                   : "ok");
  if (loading) {
    json.member("reason", "the server is loading its models");
  } else if (!healthy) {
    json.member("reason", "the inference thread hangs or has died");
  } else if (draining) {
    json.member("reason", "the server is stopping");
  }
  json.key("models");
  json.raw(models);
  json.end_object();
  return response;
}

http::Response version(Core& core) {
  http::Response response;
  JsonWriter json(response.body);
  json.begin_object();
  json.member("version", core.options.version);
  json.key("models");
  json.begin_array();
  for (const auto& model : core.models.ready()) {
    json.begin_object();
    json.member("id", model->id);
    json.member("backend", model->info().backend);
    json.member("instruction_set", model->info().instruction_set);
    json.member("system_fingerprint", model->fingerprint);
    json.end_object();
  }
  json.end_array();
  json.end_object();
  return response;
}

http::Response metrics(Core& core) {
  ScrapeState state;
  state.version = core.options.version;
  state.resident_bytes = resident_memory();
  for (const auto& model : core.models.ready()) {
    const RunnerInfo& info = model->info();
    state.models.push_back({model->id, info.backend, model->stats(), info.block_size});
  }
  {
    std::lock_guard lock(core.mutex);
    if (core.server_stats) state.server = core.server_stats();
  }
  if (core.options.tracer != nullptr) state.spans = core.options.tracer->counts();
  http::Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = core.metrics.text(state);
  return response;
}

// What stands at the server's address.
std::string index_of(const http::Router& router) {
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  json.member("name", "mlxd");
  json.member("description",
              "An inference server for language models, with OpenAI's API and Anthropic's: give "
              "clients the address "
              "of this page and /v1 as their base URL.");
  json.key("endpoints");
  json.begin_array();
  for (const std::string& endpoint : router.endpoints()) json.string(endpoint);
  json.end_array();
  json.end_object();
  return text;
}

}  // namespace

http::Handler index_handler(const http::Router& router) {
  return [body = index_of(router)](http::Exchange& exchange) {
    http::Response response;
    response.body = body;
    response.headers.emplace_back("vary", "accept");
    return exchange.respond(std::move(response));
  };
}

void mount_admin(http::Router& router, Core& core) {
  router.add(
      "GET", "/health",
      [&core](http::Exchange& exchange) { return exchange.respond(health(core)); },
      http::Key::none);
  router.add(
      "GET", "/openapi.json",
      [document = openapi::document(core.options.version)](http::Exchange& exchange) {
        http::Response response;
        response.body = document;
        return exchange.respond(std::move(response));
      },
      http::Key::none);
  router.add("GET", "/version",
             [&core](http::Exchange& exchange) { return exchange.respond(version(core)); });
  router.add("GET", "/metrics",
             [&core](http::Exchange& exchange) { return exchange.respond(metrics(core)); });
  mount_models(router, core);
  mount_model_states(router, core);
}

}  // namespace mlxd::api
