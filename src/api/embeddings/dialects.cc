#include "api/embeddings/dialects.h"

#include <utility>

#include "api/api.h"
#include "api/embeddings/parse_request.h"
#include "api/errors.h"
#include "api/ollama/errors.h"

namespace mlxd::api {
namespace {

using embeddings::Endpoint;
using embeddings::ParseOptions;

class EmbeddingDialect final : public Dialect {
 public:
  EmbeddingDialect(std::string_view path, std::string_view name, const ParseOptions& options)
      : path_(path), name_(name), options_(options) {}

  std::string_view path() const override { return path_; }
  std::string_view name() const override { return name_; }
  Result<ParsedRequest> parse(std::string_view body, const ModelDirectory& models) const override {
    return embeddings::parse_request(body, options_, models);
  }
  Error in_own_terms(Error error) const override {
    return is_ollama(options_.endpoint) ? ollama::in_own_terms(std::move(error)) : error;
  }
  std::string error_body(const Error& error) const override {
    return is_ollama(options_.endpoint) ? ollama::error_body(error) : error_json(error);
  }

 private:
  const std::string_view path_, name_;
  const ParseOptions options_;
};

}  // namespace

std::vector<std::unique_ptr<Dialect>> embedding_dialects(const ApiOptions& options) {
  std::vector<std::unique_ptr<Dialect>> dialects;
  const auto add = [&](std::string_view path, std::string_view name, Endpoint endpoint) {
    dialects.push_back(std::make_unique<EmbeddingDialect>(
        path, name, ParseOptions{endpoint, options.lenient, options.completions_timeout_seconds}));
  };
  add("/v1/embeddings", "embeddings", Endpoint::embeddings);
  for (const char* path : {"/v1/rerank", "/v2/rerank", "/rerank"}) {
    add(path, "rerank", Endpoint::rerank);
  }
  for (const char* path : {"/v1/score", "/score"}) add(path, "score", Endpoint::score);
  add("/api/embed", "ollama_embed", Endpoint::ollama_embed);
  add("/api/embeddings", "ollama_embeddings", Endpoint::ollama_embeddings);
  return dialects;
}

}  // namespace mlxd::api
