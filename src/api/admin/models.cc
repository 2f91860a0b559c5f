// The models that are served, in OpenAI's shape and Anthropic's.
#include "api/admin/models.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "api/admin/model_states.h"
#include "api/anthropic/errors.h"
#include "api/anthropic/models.h"
#include "api/core.h"
#include "api/errors.h"
#include "api/json_writer.h"

namespace mlxd::api {
namespace {

constexpr std::string_view kModelPrefix = "/v1/models/";

void write_model(JsonWriter& json, const ModelStatus& status) {
  const ModelFacts& model = *status.model;
  json.begin_object();
  json.member("id", model.id);
  json.member("object", "model");
  json.member("created", model.created);
  json.member("owned_by", "mlxd");
  json.key("aliases");
  json.begin_array();
  for (const auto& alias : model.aliases) json.string(alias);
  json.end_array();
  json.member("context_length", model.card.summary.context_length);
  json.key("capabilities");
  json.begin_array();
  if (model.card.generates) json.string("completion");
  if (model.card.pooled) json.string(model.card.pooled->is_score ? "rerank" : "embedding");
  json.end_array();
  json.key("status");
  json.begin_object();
  json.member("value", name_of(status.state));
  if (status.state == ModelState::loading) json.member("progress", status.loaded);
  json.end_object();
  json.end_object();
}

// Anthropic's clients, who know the same paths in another shape, always say so.
bool asks_as_anthropic(const http::Request& request) {
  return !request.header("anthropic-version").empty();
}

http::Response refusal(const http::Request& request, Error error) {
  if (!asks_as_anthropic(request)) return error_response(error);
  error.request_id = request.id;
  return error_response(error, anthropic::error_json(error));
}

http::Response list_models(Core& core, const http::Request& request) {
  // Half a list would pass for the whole.
  if (!core.models.started()) return refusal(request, models_loading());
  http::Response response;
  if (asks_as_anthropic(request)) {
    auto list = anthropic::models_json(core.models.all(), request.query);
    if (!list) return refusal(request, list.error());
    response.body = *std::move(list);
    return response;
  }
  JsonWriter json(response.body);
  json.begin_object();
  json.member("object", "list");
  json.key("data");
  json.begin_array();
  for (const ModelStatus& model : core.models.status()) write_model(json, model);
  json.end_array();
  json.end_object();
  return response;
}

http::Response one_model(Core& core, const http::Request& request) {
  const std::string_view path = request.path;
  const auto name = path.substr(std::min(kModelPrefix.size(), path.size()));
  const auto status = core.models.status_of(name);
  if (!status) return refusal(request, status.error());
  http::Response response;
  if (asks_as_anthropic(request)) {
    response.body = anthropic::model_json(*status->model, name);
    return response;
  }
  JsonWriter json(response.body);
  write_model(json, *status);
  return response;
}

}  // namespace

void mount_models(http::Router& router, Core& core) {
  router.add("GET", "/v1/models", [&core](http::Exchange& exchange) {
    return exchange.respond(list_models(core, exchange.request()));
  });
  router.add("GET", "/v1/models/*", [&core](http::Exchange& exchange) {
    return exchange.respond(one_model(core, exchange.request()));
  });
}

}  // namespace mlxd::api
