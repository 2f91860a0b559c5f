#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/clock.h"

namespace mlxd {

// What the inference thread shows of itself. One writer, any reader.
class Heartbeat {
 public:
  void beat() { since_ = Clock::now().time_since_epoch().count(); }
  // The thread goes to sleep for want of work: no beat is owed.
  void rest() { since_ = 0; }

  // Seconds since the last beat; 0 at rest.
  double age() const {
    const Clock::rep since = since_;
    if (since == 0) return 0;
    return seconds_between(TimePoint(Clock::duration(since)), Clock::now());
  }

 private:
  std::atomic<Clock::rep> since_{0};
};

// Calls `on_hang`, on its own thread and again and again, while the heartbeat is older than
// `limit`; what that throws costs the call alone. Time in which this thread did not run either does
// not count: a process that was stopped, or a machine that slept, does not hang.
class Watchdog {
 public:
  Watchdog(const Heartbeat& heartbeat, double limit_seconds, std::function<void()> on_hang);
  ~Watchdog();

  // When it last looked.
  bool hung() const { return hung_; }

 private:
  void watch(double limit_seconds);

  const Heartbeat& heartbeat_;
  const std::function<void()> on_hang_;
  std::atomic<bool> hung_{false};
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mlxd
