#pragma once

#include <atomic>

#include "api/generation/model_directory.h"
#include "api/generation/record.h"
#include "api/generation/stream_log.h"
#include "api/generation/text_pool.h"

namespace mlxd::tracing {
class Tracer;
}

namespace mlxd::api {

// What all generation requests share. It outlives them, and so does what it refers to; the
// dialects outlive it, as jobs of the pool use them.
struct GenerationShared {
  const ModelDirectory& models;
  const std::atomic<bool>& draining;  // new requests get 503
  RequestObserver& observer;
  double keep_alive_seconds = 15;
  double load_seconds = 300;  // that a request waits for a model to be loaded
  bool share_prefix_cache = false;
  tracing::Tracer* tracer = nullptr;  // null: no request is traced
  StreamLogs streams{0};              // I/O thread
  TextPool pool;                      // last: its jobs use what stands above
};

}  // namespace mlxd::api
