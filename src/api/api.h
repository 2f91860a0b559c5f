// api: wire formats in front of serve/. A dialect (openai/, anthropic/) turns bodies into requests
// and deltas of text into answers, by the way that generation/ has for all of them; admin/ answers
// for the server's state. Handlers are coroutines on the I/O thread; what takes time (parsing,
// templates, tokenising) runs on the text pool. cli/ makes the one Api and mounts it on a router.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/router.h"
#include "http/server.h"

namespace mlxd {
class ModelPool;
class TextModel;
namespace tracing {
class Tracer;
}
}  // namespace mlxd

namespace mlxd::api {

class Metrics;
class Dialect;
class Query;

struct ApiOptions {
  std::string version;   // of the program, for /version and /metrics
  bool lenient = false;  // unknown request keys go into the header x-mlxd-ignored, not into a 400
  double chat_timeout_seconds = 300;  // the most and the default of the parameter `timeout`
  double completions_timeout_seconds = 300;
  double keep_alive_seconds = 15;  // of a stream's silence until something is sent
  // How long a stream of events goes on without its client, which may come back and read on
  // (Last-Event-ID); 0: not at all, and events have no ids.
  double resume_seconds = 0;
  int text_threads = 2;
  int max_queued_texts = 1024;  // requests that wait for the text pool; beyond: 429
  // Requests find each other's prompt prefixes in the engine's cache whatever their API keys; else
  // those of one key alone, so that no key can tell from the time what another has asked.
  bool share_prefix_cache = false;
  // Of answers of /v1/responses that are kept in memory; 0: none is.
  std::size_t response_store_bytes = std::size_t{64} << 20;
  tracing::Tracer* tracer = nullptr;  // of requests; outlives the Api. Null: none is traced
  bool json_log = false;              // the request log as JSON lines on standard error
};

// Destroy the Server that it is mounted on first, then the Api, then the pool, then the Metrics:
// declared in the opposite order, they do so by themselves.
class Api {
 public:
  Api(ApiOptions options, Metrics& metrics, ModelPool& models);
  // On models that are always ready, for tests.
  Api(ApiOptions options, Metrics& metrics, std::vector<std::shared_ptr<TextModel>> models);
  ~Api();

  // One wire format, or question, more than there are; before `mount`.
  void add(std::unique_ptr<Dialect> dialect);
  void add(std::unique_ptr<Query> query);
  void mount(http::Router& router);
  // For "GET /": tells programs and whoever looks what this is, and lists what the router has so
  // far. Needs no key.
  static http::Handler index(const http::Router& router);

  // For http::ServerOptions::error_body: an error that http answers itself has the shape of the
  // dialect at its path, OpenAI's where there is none. It must not outlive the Api.
  std::function<std::string(std::string_view path, const Error& error)> http_error_body() const;

  // Any thread: /health says 503 and new generation requests get 503; those begun go on.
  void drain();
  // Any thread: where /metrics learns what the connections hold.
  void set_server_stats(std::function<http::ServerStats()> stats);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mlxd::api
