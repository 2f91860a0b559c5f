#include "api/openai/dialect.h"

#include <string>
#include <utility>

#include "api/api.h"
#include "api/errors.h"
#include "api/openai/parse_request.h"
#include "api/openai/wire.h"
#include "api/request_parts.h"

namespace mlxd::api {
namespace {

ResponseHead head_of(const TextModel& model, Endpoint endpoint) {
  ResponseHead head;
  head.id = make_response_id(endpoint);
  head.created = unix_time();
  head.model = model.id;
  head.fingerprint = model.fingerprint;
  return head;
}

class OpenAiDialect final : public Dialect {
 public:
  explicit OpenAiDialect(ParseOptions options) : options_(options) {}

  std::string_view path() const override {
    return options_.endpoint == Endpoint::chat ? "/v1/chat/completions" : "/v1/completions";
  }
  std::string_view name() const override {
    return options_.endpoint == Endpoint::chat ? "chat" : "completions";
  }
  Result<ParsedRequest> parse(std::string_view body, const ModelDirectory& models) const override {
    auto parsed = parse_request(body, options_, models);
    if (!parsed) return parsed.error();
    ParsedRequest request = std::move(parsed->request);
    request.headers = answer_headers(parsed->seed, parsed->ignored);
    request.writer =
        std::make_unique<OpenAiWriter>(head_of(*request.model, options_.endpoint), parsed->wire);
    return request;
  }
  std::string error_body(const Error& error) const override { return error_json(error); }

 private:
  const ParseOptions options_;
};

}  // namespace

std::vector<std::unique_ptr<Dialect>> openai_dialects(const ApiOptions& options) {
  std::vector<std::unique_ptr<Dialect>> dialects;
  dialects.push_back(std::make_unique<OpenAiDialect>(
      ParseOptions{Endpoint::chat, options.lenient, options.chat_timeout_seconds}));
  dialects.push_back(std::make_unique<OpenAiDialect>(
      ParseOptions{Endpoint::completions, options.lenient, options.completions_timeout_seconds}));
  return dialects;
}

}  // namespace mlxd::api
