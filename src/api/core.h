#pragma once

#include <atomic>
#include <functional>
#include <mutex>

#include "api/api.h"
#include "api/metrics.h"
#include "api/model_port.h"
#include "api/request_log.h"
#include "api/text_pool.h"

namespace mlxd::api {

// What all handlers share. It outlives them and every job of the pool.
struct Core {
  Core(ApiOptions api_options, Metrics& api_metrics, ModelDirectory api_models)
      : options(std::move(api_options)),
        metrics(api_metrics),
        log(make_request_log(options.json_log)),
        models(std::move(api_models)),
        pool(options.text_threads, options.max_queued_texts) {}

  const ApiOptions options;
  Metrics& metrics;
  const RequestLog log;
  const ModelDirectory models;
  std::atomic<bool> draining{false};
  std::mutex mutex;
  std::function<http::ServerStats()> server_stats;  // under the mutex
  TextPool pool;                                    // last: its jobs use what stands above
};

}  // namespace mlxd::api
