#include "api/openai/dialect.h"

#include <chrono>
#include <string>
#include <utility>

#include "api/api.h"
#include "api/errors.h"
#include "api/openai/parse_request.h"
#include "api/openai/wire.h"

namespace mlxd::api {
namespace {

constexpr std::size_t kMaxHeader = 1024;

// The names as they may stand in a header: a client chose them.
std::string header_safe(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) {
    if (!text.empty()) text += ", ";
    for (const char c : name) text += c > ' ' && c < 0x7f && c != ',' ? c : '?';
    if (text.size() > kMaxHeader) return text.substr(0, kMaxHeader);
  }
  return text;
}

http::Headers headers_of(const OpenAiRequest& request) {
  http::Headers headers;
  headers.emplace_back("x-seed", request.seed);
  if (!request.ignored.empty()) {
    headers.emplace_back("x-mlxd-ignored", header_safe(request.ignored));
  }
  return headers;
}

ResponseHead head_of(const TextModel& model, Endpoint endpoint) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  ResponseHead head;
  head.id = make_response_id(endpoint);
  head.created = static_cast<long>(std::chrono::duration_cast<std::chrono::seconds>(now).count());
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
    request.headers = headers_of(*parsed);
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
