#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "http/exchange.h"

namespace mlxd::api {

// What other threads ring when they have news for a handler. Once the handler has gone it is
// silent: nothing then reaches the exchange's executor, which may be on its way out too.
class Bell {
 public:
  explicit Bell(std::shared_ptr<http::Wakeup> wakeup) : wakeup_(std::move(wakeup)) {}

  void ring() noexcept {
    std::lock_guard lock(mutex_);
    if (wakeup_) wakeup_->notify();
  }
  void silence() noexcept {
    std::lock_guard lock(mutex_);
    wakeup_.reset();
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<http::Wakeup> wakeup_;
};

}  // namespace mlxd::api
