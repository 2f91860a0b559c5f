#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "engine/engine.h"
#include "engine/live_requests.h"
#include "engine/queue_rate.h"
#include "engine/request_shared.h"
#include "engine/stored_prefixes.h"
#include "engine/watchdog.h"

namespace mlxd {

// What the inference thread shares with the callers of Engine.
struct EngineShared {
  explicit EngineShared(const EngineOptions& engine_options, EngineObserver* engine_observer)
      : options(engine_options),
        observer(engine_observer),
        inbox(std::make_shared<Inbox>(engine_options.max_queued_requests)) {}

  // A request has begun, ended before that, or could not be queued. Returns how many are queued.
  int leave_queue(int tokens) {
    inbox->queued_tokens -= tokens;
    return --inbox->queued;
  }

  const EngineOptions options;
  EngineObserver* const observer;  // may be null
  const std::shared_ptr<Inbox> inbox;
  LiveRequests live;
  Heartbeat heartbeat;
  QueueRate queue_rate;
  std::atomic<bool> stopping{false};
  std::atomic<bool> failing{false};  // step after step fails, whoever's it is
  // Null: the prefix cache has no tier on disk. Made by the inference thread before any caller.
  std::unique_ptr<StoredPrefixes> stored_prefixes;
  std::mutex stats_mutex;
  EngineStats stats;  // as of the last step; the live figures are added by Engine::stats
};

}  // namespace mlxd
