#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "base/bounded_queue.h"
#include "base/channel.h"
#include "base/clock.h"
#include "engine/request_handle.h"
#include "engine/token_event.h"

namespace mlxd {

struct Request;

// The way of accepted requests to the inference thread. Outlives the engine while a handle does.
struct Inbox {
  explicit Inbox(std::size_t capacity);
  ~Inbox();
  BoundedQueue<std::unique_ptr<Request>> arrivals;
  // Accepted and not yet begun, here or in the scheduler: requests, and the tokens of their
  // prompts.
  std::atomic<int> queued{0};
  std::atomic<std::int64_t> queued_tokens{0};
};

// What the two ends of a request have in common. The inference thread pushes; it, the watchdog or
// whoever shuts the engine may end the request, and the first to do so wins.
struct RequestHandle::Shared {
  Shared(std::size_t capacity, std::function<void()> on_ready, std::shared_ptr<Inbox> to_engine)
      : inbox(std::move(to_engine)),
        events(capacity, std::move(on_ready), [this] { inbox->arrivals.wake(); }) {}

  // Dropped once the request has ended.
  void push(TokenEvent event) {
    std::lock_guard lock(ending);
    if (!ended.load(std::memory_order_relaxed)) events.push(std::move(event));
  }

  // False when it had ended before. Needs no memory.
  bool finish(RequestFinished event) noexcept {
    std::lock_guard lock(ending);
    if (ended.exchange(true)) return false;
    event.queue_seconds =
        begun.load() ? queue_seconds.load() : seconds_between(submitted, Clock::now());
    events.push_last(std::move(event));
    return true;
  }

  const std::shared_ptr<Inbox> inbox;
  Channel<TokenEvent> events;
  std::mutex ending;  // held for the push of one event: nothing may follow the terminal one
  std::atomic<bool> ended{false};
  std::atomic<bool> cancelled{false};
  std::atomic<std::uint64_t> stopped_samples{0};  // one bit a sample
  const TimePoint submitted = Clock::now();
  std::atomic<bool> begun{false};
  std::atomic<double> queue_seconds{0};  // valid once begun
};

}  // namespace mlxd
