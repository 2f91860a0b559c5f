#include "api/anthropic/dialect.h"

#include <string>
#include <utility>

#include "api/anthropic/errors.h"
#include "api/anthropic/parse_request.h"
#include "api/anthropic/wire.h"
#include "api/api.h"
#include "api/json_writer.h"
#include "api/request_parts.h"

namespace mlxd::api::anthropic {
namespace {

constexpr std::string_view kIdHeader = "request-id";  // where Anthropic's clients look

class Messages final : public Dialect {
 public:
  explicit Messages(double timeout_seconds) : timeout_seconds_(timeout_seconds) {}

  std::string_view path() const override { return "/v1/messages"; }
  std::string_view name() const override { return "messages"; }
  std::string_view id_header() const override { return kIdHeader; }
  Result<ParsedRequest> parse(std::string_view body, const ModelDirectory& models) const override {
    auto parsed = parse_messages(body, timeout_seconds_, models);
    if (!parsed) return parsed.error();
    ParsedRequest request = std::move(parsed->request);
    request.headers = answer_headers(parsed->seed, parsed->ignored);
    request.writer = std::make_unique<MessageWriter>(std::move(parsed->wire));
    return request;
  }
  Error in_own_terms(Error error) const override {
    return anthropic::in_own_terms(std::move(error));
  }
  std::string error_body(const Error& error) const override { return error_json(error); }

 private:
  const double timeout_seconds_;
};

class CountTokens final : public Query {
 public:
  std::string_view path() const override { return "/v1/messages/count_tokens"; }
  std::string_view id_header() const override { return kIdHeader; }
  Error in_own_terms(Error error) const override {
    return anthropic::in_own_terms(std::move(error));
  }
  Result<std::string> answer(std::string_view body, const ModelDirectory& models) const override {
    const auto request = parse_count_tokens(body, models);
    if (!request) return request.error();
    const auto tokens = request->model->tokens_of(request->prompts.at(0));
    if (!tokens) return tokens.error();
    std::string text;
    JsonWriter json(text);
    json.begin_object();
    json.member("input_tokens", tokens->size());
    json.end_object();
    return text;
  }
  std::string error_body(const Error& error) const override { return error_json(error); }
};

}  // namespace

std::unique_ptr<Dialect> messages(const ApiOptions& options) {
  return std::make_unique<Messages>(options.chat_timeout_seconds);
}

std::unique_ptr<Query> count_tokens() { return std::make_unique<CountTokens>(); }

}  // namespace mlxd::api::anthropic
