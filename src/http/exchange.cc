#include "http/exchange.h"

#include <algorithm>
#include <mutex>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "http/handler_memory.h"
#include "http/timer_wait.h"

namespace mlxd::http {
namespace asio = boost::asio;
namespace {

// Whether an io_context still lives, for wake-ups that outlive it: an engine may have news for a
// request after the server was destroyed.
struct Liveness {
  std::mutex mutex;
  bool alive = true;
};

class LivenessService : public asio::execution_context::service {
 public:
  using key_type = LivenessService;
  static asio::execution_context::id id;

  explicit LivenessService(asio::execution_context& context)
      : asio::execution_context::service(context) {}
  const std::shared_ptr<Liveness>& liveness() const { return liveness_; }

 private:
  void shutdown() override {
    std::lock_guard lock(liveness_->mutex);
    liveness_->alive = false;
  }
  std::shared_ptr<Liveness> liveness_ = std::make_shared<Liveness>();
};

asio::execution_context::id LivenessService::id;

class TimerWakeup final : public Wakeup {
 public:
  explicit TimerWakeup(asio::any_io_executor executor)
      : executor_(std::move(executor)),
        context_(static_cast<asio::io_context&>(asio::query(executor_, asio::execution::context))),
        liveness_(asio::use_service<LivenessService>(context_).liveness()) {}

  void notify() noexcept override {
    notified_ = true;
    if (posted_.exchange(true)) return;  // a wake-up is already on its way
    std::lock_guard lock(liveness_->mutex);
    if (!liveness_->alive) return;
    // The one that is on its way has its memory here, and so needs none that may not be there.
    asio::post(context_.get_executor(),
               asio::bind_allocator(memory_.allocator(), [self = shared_from_this(), this] {
                 posted_ = false;  // from here on, another is needed for further news
                 if (timer_) timer_->cancel();
               }));
  }

  Task<bool> wait_for(double seconds) override {
    const auto self = shared_from_this();
    constexpr double longest = 365.0 * 24 * 3600;
    const auto deadline = after_seconds(Clock::now(), std::clamp(seconds, 0.0, longest));
    // The timer lives in this frame, which the io_context destroys at the latest; `this` may live
    // longer.
    asio::steady_timer timer(executor_);
    const TimerScope scope(*this, timer);
    while (!notified_.exchange(false)) {
      if (Clock::now() >= deadline) co_return false;
      timer.expires_at(deadline);
      co_await TimerWait(timer);
    }
    co_return true;
  }

 private:
  struct TimerScope {
    TimerScope(TimerWakeup& owner, asio::steady_timer& timer) : owner_(owner) {
      owner_.timer_ = &timer;
    }
    ~TimerScope() { owner_.timer_ = nullptr; }
    TimerScope(const TimerScope&) = delete;
    TimerScope& operator=(const TimerScope&) = delete;
    TimerWakeup& owner_;
  };

  const asio::any_io_executor executor_;
  asio::io_context& context_;
  const std::shared_ptr<Liveness> liveness_;
  std::atomic<bool> notified_ = false;
  std::atomic<bool> posted_ = false;
  HandlerMemory memory_;
  asio::steady_timer* timer_ = nullptr;  // I/O thread; of the present wait_for
};

}  // namespace

std::shared_ptr<Wakeup> Wakeup::make(asio::any_io_executor executor) {
  return std::make_shared<TimerWakeup>(std::move(executor));
}

std::string_view Request::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return {};
}

}  // namespace mlxd::http
