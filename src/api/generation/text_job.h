#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <spdlog/spdlog.h>

#include "api/generation/bell.h"
#include "api/generation/text_pool.h"
#include "base/error.h"
#include "http/exchange.h"

namespace mlxd::api {

Error text_pool_overloaded();  // 429
Error request_not_prepared();  // 500

// The way of a body through the text pool: `work` makes a T of it there. Shared by the handler, on
// the I/O thread, and the job, so that either may go first; what was made for a handler that has
// gone goes with it.
template <class T>
class TextJob {
 public:
  // Lets the body go itself as soon as it has been read, for a long text is in memory once.
  using Work = std::function<Result<T>(http::Body& body)>;

  // Takes the body out of the exchange and queues the work; 429 when the pool has too much to do.
  // `bell` rings when `done`.
  static Result<std::shared_ptr<TextJob>> begin(TextPool& pool, http::Exchange& exchange,
                                                std::shared_ptr<Bell> bell, Work work) {
    auto job = std::make_shared<TextJob>();
    job->id_ = exchange.request().id;
    job->body_ = exchange.take_body();
    job->work_ = std::move(work);
    job->failure_ = request_not_prepared();
    const bool queued = pool.try_post([job, bell = std::move(bell)] {
      job->run();
      bell->ring();
    });
    if (!queued) return text_pool_overloaded();
    return job;
  }

  bool done() const { return done_.load(std::memory_order_acquire); }
  // Once, after `done`.
  Result<T> take() { return *std::move(result_); }
  void abandon() { abandoned_ = true; }  // a job that has not begun is not worth beginning

 private:
  void run() {
    try {
      if (!abandoned_) result_ = work_(body_);
    } catch (const std::exception& failure) {
      spdlog::error("request {} could not be prepared: {}", id_, failure.what());
    } catch (...) {
      spdlog::error("request {} could not be prepared", id_);
    }
    body_.release();
    work_ = nullptr;
    // For an abandoned one, this lets go of what was made.
    if (!result_ || abandoned_) result_.emplace(std::move(failure_));
    done_.store(true, std::memory_order_release);
  }

  std::string id_;
  http::Body body_;
  Work work_;
  std::optional<Result<T>> result_;
  Error failure_;  // made beforehand: when it is wanted there may be no memory
  std::atomic<bool> done_{false};
  std::atomic<bool> abandoned_{false};
};

}  // namespace mlxd::api
