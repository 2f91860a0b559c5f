#include "api/ollama/dialect.h"

#include "api/api.h"
#include "api/ollama/errors.h"
#include "api/ollama/parse_request.h"

namespace mlxd::api::ollama {
namespace {

class OllamaDialect final : public Dialect {
 public:
  explicit OllamaDialect(ParseOptions options) : options_(options) {}

  std::string_view path() const override {
    return options_.endpoint == Endpoint::chat ? "/api/chat" : "/api/generate";
  }
  std::string_view name() const override {
    return options_.endpoint == Endpoint::chat ? "ollama_chat" : "ollama_generate";
  }
  Result<ParsedRequest> parse(std::string_view body, const ModelDirectory& models) const override {
    return parse_request(body, options_, models);
  }
  Error in_own_terms(Error error) const override { return ollama::in_own_terms(std::move(error)); }
  std::string error_body(const Error& error) const override { return ollama::error_body(error); }

 private:
  const ParseOptions options_;
};

}  // namespace

std::vector<std::unique_ptr<Dialect>> dialects(const ApiOptions& options) {
  std::vector<std::unique_ptr<Dialect>> dialects;
  dialects.push_back(std::make_unique<OllamaDialect>(
      ParseOptions{Endpoint::chat, options.lenient, options.chat_timeout_seconds}));
  dialects.push_back(std::make_unique<OllamaDialect>(
      ParseOptions{Endpoint::generate, options.lenient, options.completions_timeout_seconds}));
  return dialects;
}

}  // namespace mlxd::api::ollama
