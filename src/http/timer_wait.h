#pragma once

#include <coroutine>

#include <boost/asio/steady_timer.hpp>

#include "base/task.h"

namespace mlxd::http {

// Awaited, it waits until the timer expires or is cancelled. Throws where there is no memory to
// wait with.
class TimerWait {
 public:
  explicit TimerWait(boost::asio::steady_timer& timer) : timer_(timer) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> waiter) const {
    TaskRunner& runner = waiter.promise().runner();
    timer_.async_wait([&runner](boost::system::error_code) { runner.resume(); });
    runner.wait();
  }
  void await_resume() const noexcept {}

 private:
  boost::asio::steady_timer& timer_;
};

}  // namespace mlxd::http
