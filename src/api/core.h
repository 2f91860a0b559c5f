#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "api/anthropic/dialect.h"
#include "api/api.h"
#include "api/embeddings/dialects.h"
#include "api/generation/dialect.h"
#include "api/generation/query.h"
#include "api/generation/shared.h"
#include "api/metrics.h"
#include "api/ollama/dialect.h"
#include "api/openai/dialect.h"
#include "api/request_log.h"
#include "api/request_trace.h"
#include "api/responses/dialect.h"
#include "api/text/queries.h"
#include "tracing/tracer.h"

namespace mlxd::api {

// Every generation request goes into the metrics and the log, and some into traces.
class RecordedRequests final : public RequestObserver {
 public:
  // `tracer` may be null.
  RecordedRequests(Metrics& metrics, const RequestLog& log, tracing::Tracer* tracer)
      : metrics_(metrics), log_(log), tracer_(tracer) {}
  void first_token(double seconds) override { metrics_.first_token(seconds); }
  void between_tokens(double seconds) override { metrics_.between_tokens(seconds); }
  void ended(const RequestRecord& record) override {
    metrics_.request_ended(record);
    log_.write(record);
    if (record.trace && tracer_ != nullptr) trace(record);
  }

 private:
  void trace(const RequestRecord& record) noexcept try {
    const tracing::WallClock clock;
    tracer_->end(spans_of(record, clock, [this] { return tracer_->new_span_id(); }));
  } catch (const std::exception&) {  // no memory for them
    tracer_->drop(1);
  }

  Metrics& metrics_;
  const RequestLog& log_;
  tracing::Tracer* const tracer_;
};

// What all handlers share. It outlives them and every job of the pool.
struct Core {
  Core(ApiOptions api_options, Metrics& api_metrics, ModelDirectory api_models)
      : options(std::move(api_options)),
        metrics(api_metrics),
        log(make_request_log(options.json_log)),
        models(std::move(api_models)),
        dialects(openai_dialects(options)),
        queries(text_queries(options)),
        stored(std::make_shared<responses::ResponseStore>(options.response_store_bytes)),
        requests(metrics, log, options.tracer),
        generation{models,
                   draining,
                   requests,
                   options.keep_alive_seconds,
                   options.chat_timeout_seconds,
                   options.share_prefix_cache,
                   options.tracer,
                   StreamLogs(options.resume_seconds),
                   TextPool(options.text_threads, options.max_queued_texts)} {
    for (auto& dialect : ollama::dialects(options)) dialects.push_back(std::move(dialect));
    for (auto& query : ollama::queries(options)) queries.push_back(std::move(query));
    for (auto& dialect : embedding_dialects(options)) dialects.push_back(std::move(dialect));
    dialects.push_back(anthropic::messages(options));
    queries.push_back(anthropic::count_tokens());
    dialects.push_back(responses::make_dialect(options, stored));
    queries.push_back(responses::count_input(options, stored));
  }

  const ApiOptions options;
  Metrics& metrics;
  const RequestLog log;
  const ModelDirectory models;
  std::vector<std::unique_ptr<Dialect>> dialects;
  std::vector<std::unique_ptr<Query>> queries;
  const std::shared_ptr<responses::ResponseStore> stored;  // what was answered
  std::atomic<bool> draining{false};
  std::mutex mutex;
  std::function<http::ServerStats()> server_stats;  // under the mutex
  RecordedRequests requests;
  GenerationShared generation;  // last: its pool's jobs use what stands above
};

}  // namespace mlxd::api
