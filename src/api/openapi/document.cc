#include "api/openapi/document.h"

#include <cctype>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "api/openapi/operations.h"
#include "api/openapi/requests.h"
#include "api/openapi/texts.h"
#include "api/openapi/words.h"
#include "http/ascii.h"

namespace mlxd::api::openapi {
namespace {

namespace json = boost::json;

// "/v1/models/{id}"
std::string path_of(const Operation& operation) {
  std::string path(operation.pattern);
  if (path.ends_with('*')) path.replace(path.size() - 1, 1, "{id}");
  return path;
}

// "post_v1_chat_completions"
std::string id_of(const Operation& operation) {
  std::string id = http::ascii_lower(operation.method);
  for (const char c : operation.pattern == "/" ? "/index" : path_of(operation)) {
    if (c == '{' || c == '}') continue;
    id += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  }
  return id;
}

json::array parameters_of(const Operation& operation) {
  json::array parameters;
  if (operation.pattern.ends_with('*')) parameters.push_back(reference("parameters", "Id"));
  for (const std::string_view name : words_of(operation.parameters)) {
    parameters.push_back(reference("parameters", name));
  }
  return parameters;
}

json::object of_schema(std::string_view name) { return {{"schema", reference("schemas", name)}}; }

// OpenAPI 3.1 has no words for streams: what their events or lines are is said by an extension.
json::object content_of(const Operation& operation) {
  if (operation.answer == "MetricsText") return {{"text/plain", of_schema(operation.answer)}};
  json::object content;
  if (!operation.answer.empty()) content["application/json"] = of_schema(operation.answer);
  if (operation.pattern == "/") content["text/html"] = of_schema("Page");
  if (operation.stream.empty()) return content;
  const bool lines = operation.tag == "ollama";
  content[lines ? "application/x-ndjson" : "text/event-stream"] = {
      {"x-item-schema", reference("schemas", operation.stream)}};
  return content;
}

json::object answers_of(const Operation& operation) {
  json::object headers{{"x-request-id", reference("headers", "RequestId")}};
  json::object failed{{"description", "An error, or a refusal that says what to do."},
                      {"headers", headers},
                      {"content", {{"application/json", of_schema(operation.error)}}}};
  if (!operation.stream.empty() && !operation.request.empty())
    headers["x-seed"] = reference("headers", "Seed");
  json::object answered{{"description", "The answer."},
                        {"headers", std::move(headers)},
                        {"content", content_of(operation)}};
  return {{"200", std::move(answered)}, {"default", std::move(failed)}};
}

json::object described(const Operation& operation) {
  json::object out{{"operationId", id_of(operation)},
                   {"tags", json::array{json::string(operation.tag)}},
                   {"summary", operation.summary}};
  if (operation.tag == "admin") {
    out["security"] = {{{"bearer", json::array()}}, {{"key", json::array()}}};
  } else if (!operation.needs_key) {
    out["security"] = json::array();
  }
  if (auto parameters = parameters_of(operation); !parameters.empty()) {
    out["parameters"] = std::move(parameters);
  }
  if (!operation.request.empty()) {
    out["requestBody"] = {{"required", true},
                          {"content", {{"application/json", of_schema(operation.request)}}}};
  }
  out["responses"] = answers_of(operation);
  return out;
}

json::object read(std::string_view text) { return json::parse(text).as_object(); }

void add_members(json::object& to, json::object from) {
  for (auto& member : from) to[member.key()] = std::move(member.value());
}

// An answer of /v1/responses says again what its request did.
void repeat_fields(json::object& response) {
  auto& properties = response["properties"].as_object();
  auto& required = response["required"].as_array();
  for (auto& field : repeated_fields()) {
    properties[field.key()] = std::move(field.value());
    required.push_back(json::string(field.key()));
  }
}

}  // namespace

std::string document(std::string_view version) {
  json::object document = read(kSkeleton);
  document["info"].as_object()["version"] = version;
  auto& paths = document["paths"].as_object();
  for (const Operation& operation : operations()) {
    json::value& item = paths[path_of(operation)];
    if (!item.is_object()) item.emplace_object();
    item.as_object()[http::ascii_lower(operation.method)] = described(operation);
  }
  auto& schemas = document["components"].as_object()["schemas"].as_object();
  add_members(schemas, request_schemas());
  add_members(schemas, read(kFields));
  add_members(schemas, read(kAnswers));
  repeat_fields(schemas["Response"].as_object());
  return json::serialize(document);
}

}  // namespace mlxd::api::openapi
