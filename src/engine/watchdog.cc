#include "engine/watchdog.h"

#include <algorithm>
#include <utility>

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
  const std::chrono::duration<double> period(std::clamp(limit_seconds / 8, 0.005, 1.0));
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, period, [this] { return stopping_; })) {
    if (heartbeat_.age() <= limit_seconds) continue;
    lock.unlock();
    on_hang_();
    lock.lock();
  }
}

}  // namespace mlxd
