#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/generation/record.h"
#include "engine/engine.h"
#include "http/server.h"
#include "tracing/span.h"

namespace mlxd::api {

// What a scrape finds out from elsewhere.
struct ScrapeState {
  struct Model {
    std::string id;
    std::string backend;
    EngineStats stats;
    int block_size = 0;  // tokens of a KV block
  };
  std::vector<Model> models;
  std::optional<http::ServerStats> server;
  std::optional<tracing::SpanCounts> spans;  // none: no request is traced
  std::size_t resident_bytes = 0;            // of the process; 0: not known
  std::string version;
};

// Counters and histograms of the whole process, in Prometheus' text format. It must outlive the
// engines that report to it. Any thread may call any function.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  EngineObserver* engine_observer();  // to be given to each Engine
  void request_ended(const RequestRecord& record) noexcept;
  void first_token(double seconds);     // since the request arrived
  void between_tokens(double seconds);  // since the same choice's last piece of text
  std::string text(const ScrapeState& state) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mlxd::api
