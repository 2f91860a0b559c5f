#include "engine/watchdog.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <spdlog/spdlog.h>

namespace mlxd {

Watchdog::Watchdog(const Heartbeat& heartbeat, double limit_seconds, std::function<void()> on_hang)
    : heartbeat_(heartbeat),
      on_hang_(std::move(on_hang)),
      thread_([this, limit_seconds] { watch(limit_seconds); }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_one();
  thread_.join();
}

void Watchdog::watch(double limit_seconds) {
  const double period = std::clamp(limit_seconds / 8, 0.005, 0.25);
  double silent = 0;
  TimePoint looked = Clock::now();
  std::unique_lock lock(mutex_);
  while (
      !stop_.wait_for(lock, std::chrono::duration<double>(period), [this] { return stopping_; })) {
    const TimePoint now = Clock::now();
    const double passed = std::min(seconds_between(looked, now), 2 * period);
    looked = now;
    silent = std::min(silent + passed, heartbeat_.age());
    hung_ = silent > limit_seconds;
    if (!hung_) continue;
    lock.unlock();
    try {
      on_hang_();
    } catch (const std::exception& failure) {
      spdlog::error("the watchdog goes on after: {}", failure.what());
    }
    lock.lock();
  }
}

}  // namespace mlxd
