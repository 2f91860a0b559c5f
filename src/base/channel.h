#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/clock.h"

namespace mlxd {

// The way from one producer (the inference thread) to one consumer (the request's thread).
//
// It is bounded by agreement: the producer asks `has_room()` before it starts work whose result it
// would have to push, and pauses that work otherwise; `push` itself never waits. The last item has
// a place of its own, so that a terminal event arrives even where memory has run out. Wake-ups are
// coalesced: `on_ready` is called once when the channel stops being empty, and again only after the
// consumer has drained it to empty.
template <class T>
class Channel {
 public:
  // `on_ready` runs on the producer's thread and must only signal (post to an executor, say); it
  // must not throw.
  // `on_room` runs on the consumer's thread when a channel that had no room has some again.
  Channel(std::size_t capacity, std::function<void()> on_ready, std::function<void()> on_room = {})
      : capacity_(capacity), on_ready_(std::move(on_ready)), on_room_(std::move(on_room)) {}

  bool has_room() const { return room() > 0; }

  // Items that may be pushed within the agreement.
  std::size_t room() const {
    std::lock_guard lock(mutex_);
    if (items_.size() < capacity_) return capacity_ - items_.size();
    starved_ = true;
    return 0;
  }

  void push(T item) {
    bool was_empty;
    {
      std::lock_guard lock(mutex_);
      was_empty = items_.empty();
      items_.push_back(std::move(item));
    }
    if (was_empty) tell();
  }

  // Nothing follows it. Needs no memory.
  void push_last(T item) noexcept {
    bool was_empty;
    {
      std::lock_guard lock(mutex_);
      was_empty = items_.empty();
      last_ = std::move(item);
    }
    if (was_empty) tell();
  }

  std::optional<T> try_pop() {
    std::optional<T> item;
    bool room = false;
    {
      std::lock_guard lock(mutex_);
      if (items_.empty()) return std::exchange(last_, std::nullopt);
      item = std::move(items_.front());
      items_.pop_front();
      if (starved_ && items_.size() <= capacity_ / 2) {
        starved_ = false;
        room = true;
      }
    }
    if (room && on_room_) on_room_();
    return item;
  }

  // Blocks until an item is there or the time is up.
  std::optional<T> pop_until(TimePoint deadline) {
    {
      std::unique_lock lock(mutex_);
      ready_.wait_until(lock, deadline, [this] { return !items_.empty() || last_; });
    }
    return try_pop();
  }

 private:
  void tell() {
    ready_.notify_one();
    if (on_ready_) on_ready_();
  }

  const std::size_t capacity_;
  const std::function<void()> on_ready_;
  const std::function<void()> on_room_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<T> items_;
  std::optional<T> last_;         // behind all of these
  mutable bool starved_ = false;  // the producer was told that there is no room
};

}  // namespace mlxd
