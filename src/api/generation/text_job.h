#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <spdlog/spdlog.h>

#include "api/generation/bell.h"
#include "api/generation/model_change.h"
#include "api/generation/model_directory.h"
#include "api/generation/shared.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/task.h"
#include "http/exchange.h"

namespace mlxd::api {

Error text_pool_overloaded();  // 429
Error request_not_prepared();  // 500

// What the text pool makes of a body. Lets the body go as soon as it has been read, for a long text
// is in memory once; but leaves it where a model was missing, since then it is read once more.
template <class T>
using TextWork = std::function<Result<T>(http::Body& body, const ModelDirectory& models)>;

// The way of a body through the text pool. Shared by the handler, on the I/O thread, and the job,
// so that either may go first; what was made for a handler that has gone goes with it.
template <class T>
class TextJob {
 public:
  // Queues the work, for which a model may have been loaded; 429 when the pool has too much to do.
  // `bell` rings when `done`.
  static Result<std::shared_ptr<TextJob>> begin(GenerationShared& shared, std::string id,
                                                http::Body body, AwaitedModel awaited,
                                                std::shared_ptr<Bell> bell, TextWork<T> work) {
    auto job = std::make_shared<TextJob>();
    job->id_ = std::move(id);
    job->body_ = std::move(body);
    job->awaited_ = std::move(awaited);
    job->work_ = std::move(work);
    job->failure_ = request_not_prepared();
    const bool queued =
        shared.pool.try_post([job, &models = shared.models, bell = std::move(bell)] {
          job->run(models);
          bell->ring();
        });
    if (!queued) return text_pool_overloaded();
    return job;
  }

  static TimePoint deadline() { return TimePoint::max(); }  // the pool is never long about it
  bool done() const { return done_.load(std::memory_order_acquire); }
  // After `done`, each once. What the work made, or the name of a model that has to be loaded
  // before it can make anything, and then the body once more.
  Result<T> take() { return *std::move(result_); }
  std::string take_missed() { return std::move(awaited_.name); }
  std::string take_asked() { return std::move(awaited_.asked); }  // the name that was looked for
  http::Body take_body() { return std::move(body_); }
  void abandon() { abandoned_ = true; }  // a job that has not begun is not worth beginning

 private:
  void run(const ModelDirectory& models) {
    try {
      if (!abandoned_) result_ = work_(body_, models.for_request(awaited_));
    } catch (const std::exception& failure) {
      spdlog::error("request {} could not be prepared: {}", id_, failure.what());
    } catch (...) {
      spdlog::error("request {} could not be prepared", id_);
    }
    if (awaited_.model || (result_ && *result_)) awaited_.name.clear();  // it missed none
    awaited_.model = nullptr;  // what was made holds it, if it needs it
    if (awaited_.name.empty() || abandoned_) body_.release();
    work_ = nullptr;
    // For an abandoned one, this lets go of what was made.
    if (!result_ || abandoned_) result_.emplace(std::move(failure_));
    done_.store(true, std::memory_order_release);
  }

  std::string id_;
  http::Body body_;
  TextWork<T> work_;
  AwaitedModel awaited_;
  std::optional<Result<T>> result_;
  Error failure_;  // made beforehand: when it is wanted there may be no memory
  std::atomic<bool> done_{false};
  std::atomic<bool> abandoned_{false};
};

// Until `awaited` is done, whose bell is the handler's, or its deadline has come. False: the peer
// is gone. I/O thread.
template <class Awaited>
Task<bool> done_or_gone(const Awaited& awaited, http::Exchange& exchange,
                        double keep_alive_seconds) {
  while (!awaited.done()) {
    const double left = seconds_between(Clock::now(), awaited.deadline());
    if (left <= 0) break;
    co_await exchange.wakeup()->wait_for(std::min(keep_alive_seconds, left));
    if (exchange.peer_gone()) co_return false;
  }
  co_return true;
}

// Reads the body of a request: what `work` makes of it on the text pool. A model that is not loaded
// is waited for, and the body then read again. Nothing: the peer is gone. I/O thread; `bell` is the
// handler's, and `ask`, which may be null, is told of the model.
template <class T>
Task<std::optional<Result<T>>> read_body(GenerationShared& shared, http::Exchange& exchange,
                                         std::shared_ptr<Bell> bell, TextWork<T> work,
                                         ModelAsk* ask = nullptr) {
  struct Abandon {
    ~Abandon() { job->abandon(); }
    const std::shared_ptr<TextJob<T>> job;
  };
  struct Withdraw {
    ~Withdraw() { load->withdraw(); }
    const std::shared_ptr<ModelChange> load;
  };
  const TimePoint begun = Clock::now();
  const TimePoint deadline = after_seconds(begun, shared.load_seconds);
  const auto seconds = [begun] { return seconds_between(begun, Clock::now()); };
  http::Body body = exchange.take_body();
  AwaitedModel awaited;
  while (true) {
    auto queued = TextJob<T>::begin(shared, exchange.request().id, std::move(body),
                                    std::exchange(awaited, {}), bell, work);
    if (!queued) co_return Result<T>(queued.error());
    const Abandon handler{*std::move(queued)};
    TextJob<T>& job = *handler.job;
    const bool read = co_await done_or_gone(job, exchange, shared.keep_alive_seconds);
    if (!read) co_return std::nullopt;
    if (ask != nullptr) ask->name = job.take_asked();
    awaited.name = job.take_missed();
    if (awaited.name.empty()) co_return job.take();
    body = job.take_body();
    if (ask != nullptr && ask->load_begun_seconds < 0) ask->load_begun_seconds = seconds();
    const Withdraw waiting{ModelChange::load(shared.models, awaited.name, deadline, bell)};
    const bool loaded = co_await done_or_gone(*waiting.load, exchange, shared.keep_alive_seconds);
    if (!loaded) co_return std::nullopt;
    if (ask != nullptr) ask->load_ended_seconds = seconds();
    auto model = waiting.load->take();
    if (!model) co_return Result<T>(std::move(model).error());
    awaited.model = *std::move(model);
  }
}

}  // namespace mlxd::api
