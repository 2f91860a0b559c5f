#include "api/responses/dialect.h"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "api/api.h"
#include "api/errors.h"
#include "api/json_writer.h"
#include "api/responses/parse_request.h"
#include "api/responses/writer.h"
#include "http/router.h"

namespace mlxd::api::responses {
namespace {

constexpr std::string_view kPath = "/v1/responses";

class ResponsesDialect final : public Dialect {
 public:
  ResponsesDialect(ParseOptions options, std::shared_ptr<ResponseStore> store)
      : options_(options), store_(std::move(store)) {}

  std::string_view path() const override { return kPath; }
  std::string_view name() const override { return "responses"; }
  Result<ParsedRequest> parse(std::string_view body, const ModelDirectory& models) const override {
    return parse_for(0, body, models);
  }
  Result<ParsedRequest> parse_for(std::uint64_t caller, std::string_view body,
                                  const ModelDirectory& models) const override {
    auto read = parse_request(body, options_, models, store_, caller);
    if (!read) return read.error();
    ParsedRequest request = std::move(read->parsed);
    request.headers = answer_headers(read->seed, read->ignored);
    request.writer = std::make_unique<ResponseWriter>(std::move(read->shape));
    return request;
  }
  std::string error_body(const Error& error) const override { return error_json(error); }

 private:
  const ParseOptions options_;
  const std::shared_ptr<ResponseStore> store_;
};

class CountInput final : public Query {
 public:
  CountInput(ParseOptions options, std::shared_ptr<ResponseStore> store)
      : options_(options), store_(std::move(store)) {}

  std::string_view path() const override { return "/v1/responses/input_tokens"; }
  Result<std::string> answer(std::string_view body, const ModelDirectory& models) const override {
    return answer_for(0, body, models);
  }
  Result<std::string> answer_for(std::uint64_t caller, std::string_view body,
                                 const ModelDirectory& models) const override {
    const auto read = parse_request(body, options_, models, store_, caller);
    if (!read) return read.error();
    const auto tokens = read->parsed.model->tokens_of(read->parsed.prompts.at(0));
    if (!tokens) return tokens.error();
    std::string text;
    JsonWriter json(text);
    json.begin_object();
    json.member("object", "response.input_tokens");
    json.member("input_tokens", tokens->size());
    json.end_object();
    return text;
  }
  std::string error_body(const Error& error) const override { return error_json(error); }

 private:
  const ParseOptions options_;
  const std::shared_ptr<ResponseStore> store_;
};

std::string_view id_of(const http::Request& request) {
  return std::string_view(request.path).substr(kPath.size() + 1);
}

http::Response not_found(std::string_view id) {
  Error error;
  error.status = 404;
  error.code = "response_not_found";
  error.message = fmt::format(
      "Response with id '{:.100}' not found: it was not stored, or is no "
      "longer.",
      id);
  return error_response(error);
}

http::Response get(ResponseStore& store, const http::Request& request) {
  if (request.query.find("stream=true") != std::string::npos) {
    return error_response(
        bad_value("stream", "A stored response cannot be streamed; leave 'stream' out."));
  }
  auto stored = store.response(request.caller, id_of(request));
  if (!stored) return not_found(id_of(request));
  http::Response response;
  response.body = *std::move(stored);
  return response;
}

http::Response remove(ResponseStore& store, const http::Request& request) {
  const std::string_view id = id_of(request);
  if (!store.remove(request.caller, id)) return not_found(id);
  http::Response response;
  JsonWriter json(response.body);
  json.begin_object();
  json.member("id", id);
  json.member("object", "response");
  json.member("deleted", true);
  json.end_object();
  return response;
}

}  // namespace

std::unique_ptr<Dialect> make_dialect(const ApiOptions& options,
                                      std::shared_ptr<ResponseStore> store) {
  return std::make_unique<ResponsesDialect>(
      ParseOptions{options.lenient, options.chat_timeout_seconds}, std::move(store));
}

std::unique_ptr<Query> count_input(const ApiOptions& options,
                                   std::shared_ptr<ResponseStore> store) {
  return std::make_unique<CountInput>(ParseOptions{options.lenient, options.chat_timeout_seconds},
                                      std::move(store));
}

void mount_stored(http::Router& router, std::shared_ptr<ResponseStore> store) {
  const std::string pattern = std::string(kPath) + "/*";
  router.add("GET", pattern, [store](http::Exchange& exchange) {
    return exchange.respond(get(*store, exchange.request()));
  });
  router.add("DELETE", pattern, [store](http::Exchange& exchange) {
    return exchange.respond(remove(*store, exchange.request()));
  });
}

}  // namespace mlxd::api::responses
