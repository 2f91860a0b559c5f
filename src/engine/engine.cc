#include "engine/engine.h"

#include <algorithm>
#include <future>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "engine/inference_loop.h"
#include "engine/job_check.h"

namespace mlxd {

class Engine::Impl {
 public:
  Impl(const EngineOptions& options, MakeRunner make_runner, EngineObserver* observer)
      : shared_(options, observer) {
    std::promise<void> loaded;
    auto loading = loaded.get_future();
    thread_ =
        std::thread([this, promise = std::move(loaded), make = std::move(make_runner)]() mutable {
          thread_main(make, promise);
        });
    try {
      loading.get();
    } catch (...) {
      thread_.join();
      throw;
    }
    try {
      watchdog_ = std::make_unique<Watchdog>(shared_.heartbeat, options.hang_seconds, [this] {
        if (shared_.live.size() == 0) return;  // this hang's requests were ended before
        spdlog::critical("a step of the model has taken more than {} s: ending all requests",
                         shared_.options.hang_seconds);
        ++hangs_;
        shared_.live.end_all(hung_);
      });
    } catch (...) {  // the system gives no more threads: the one that it gave is to end first
      stop();
      throw;
    }
  }

  ~Impl() { stop(); }

  Result<RequestHandle> submit(GenerateJob job, std::function<void()> on_ready) {
    if (auto mistake = find_mistake(job, info_, plan_)) return *mistake;
    if (draining_) {
      return Error{503, "shutting_down", "", "The server is shutting down; try another.", 5};
    }
    if (shared_.failing) {
      return Error{503, "engine_unhealthy", "", "The model fails at every step; try again later.",
                   5};
    }
    if (!healthy()) {
      return Error{503, "engine_unhealthy", "", "The model is not responding; try again later.",
                   30};
    }
    const auto tokens = static_cast<int>(job.prompt_tokens());
    if (auto full = enter_queue(tokens)) return *full;
    std::shared_ptr<RequestHandle::Shared> state;
    try {
      auto request = std::make_unique<Request>();
      request->job = std::move(job);
      request->shared = std::make_shared<RequestHandle::Shared>(
          std::max(shared_.options.channel_capacity, 1), std::move(on_ready), shared_.inbox);
      state = request->shared;
      if (shared_.live.add(state)) {
        fetch_prefix(request->job, *state);
        if (shared_.inbox->arrivals.try_push(std::move(request))) return RequestHandle(state);
      }
    } catch (...) {
      withdraw(tokens, state.get());
      throw;
    }
    withdraw(tokens, state.get());
    return Error{503, "engine_unhealthy", "", "The model is not responding; try again later.", 30};
  }

  void drain() { draining_ = true; }

  void abort_all(const Error& error) {
    shared_.live.end_all(error);
    shared_.inbox->arrivals.wake();
  }

  const RunnerInfo& info() const { return info_; }

  int longest_sequence() const {
    // The last token drawn is never fed back, so it needs no place.
    const std::int64_t held = std::int64_t{plan_.sequence_blocks} * info_.block_size + 1;
    return static_cast<int>(std::min<std::int64_t>(info_.context_length, held));
  }

  EngineStats stats() {
    EngineStats stats;
    {
      std::lock_guard lock(shared_.stats_mutex);
      stats = shared_.stats;
    }
    stats.queued_requests = shared_.inbox->queued;
    stats.queued_tokens = shared_.inbox->queued_tokens;
    stats.live_requests = static_cast<int>(shared_.live.size());
    stats.heartbeat_age_seconds = shared_.heartbeat.age();
    stats.healthy = healthy();
    stats.hangs = hangs_;
    if (shared_.stored_prefixes) {
      stats.prefix_store = shared_.stored_prefixes->store().stats();
      stats.memory.buffers += stats.prefix_store.buffer_bytes;
    }
    return stats;
  }

 private:
  void stop() {
    draining_ = true;
    shared_.stopping = true;
    shared_.live.close(stopped_);
    shared_.inbox->arrivals.wake();
    thread_.join();
  }

  // Whose rows are all wanted is computed from the first token, and who wants none not at all.
  void fetch_prefix(const GenerateJob& job, const RequestHandle::Shared& state) {
    if (!shared_.stored_prefixes || job.prompt_logprobs >= 0 || job.max_tokens == 0) return;
    shared_.stored_prefixes->fetch(job.cache_salt, job.prompt, [this, &state] {
      return draining_ || state.ended || state.cancelled;
    });
  }

  // As if the request had never come.
  void withdraw(int tokens, const RequestHandle::Shared* state) {
    shared_.leave_queue(tokens);
    shared_.live.remove(state);
  }

  // Counts a request in, or says why it cannot wait.
  std::optional<Error> enter_queue(int tokens) {
    Inbox& inbox = *shared_.inbox;
    const int requests = inbox.queued.fetch_add(1);
    const std::int64_t waiting = inbox.queued_tokens.fetch_add(tokens);
    const bool too_many = requests >= shared_.options.max_queued_requests;
    const bool too_long = waiting > 0 && waiting + tokens > shared_.options.max_queued_tokens;
    if (!too_many && !too_long) return std::nullopt;
    shared_.leave_queue(tokens);
    auto message = fmt::format("{} requests are waiting already; try again later.", requests);
    if (!too_many) {
      message = fmt::format(
          "Prompts of {} tokens are waiting already, and this one's {} would make more than {}; "
          "try again later.",
          waiting, tokens, shared_.options.max_queued_tokens);
    }
    return Error{429, "queue_full", "", std::move(message),
                 shared_.queue_rate.retry_after(Clock::now(), requests, waiting)};
  }

  // The inference thread, from the runner's birth to its death.
  void thread_main(const MakeRunner& make_runner, std::promise<void>& loaded) {
    std::unique_ptr<ModelRunner> runner;
    std::unique_ptr<InferenceLoop> loop;
    Error lost;  // made beforehand: when it is wanted there may be no memory
    try {
      lost = {503, "engine_dead", "", "The model has stopped; this request was ended.", 30};
      runner = make_runner();
      info_ = runner->info();
      plan_ = plan_cache(shared_.options, info_);
      runner->resize_cache(plan_.size);
      shared_.stored_prefixes = open_stored_prefixes(
          shared_.options, info_, [inbox = shared_.inbox] { inbox->arrivals.wake(); });
      loop = std::make_unique<InferenceLoop>(shared_, *runner, plan_);
    } catch (...) {
      loop.reset();
      runner.reset();
      loaded.set_exception(std::current_exception());
      return;
    }
    loaded.set_value();
    try {
      loop->run();
    } catch (const std::exception& exception) {
      spdlog::critical("the inference thread ends: {}", exception.what());
      dead_ = true;
    } catch (...) {
      spdlog::critical("the inference thread ends: unknown exception");
      dead_ = true;
    }
    shared_.live.close(lost);
    shared_.inbox->arrivals.close();
    while (shared_.inbox->arrivals.try_pop()) {
    }
    shared_.heartbeat.rest();
  }

  bool hangs() const {
    return watchdog_->hung() && shared_.heartbeat.age() > shared_.options.hang_seconds;
  }
  bool healthy() const { return !dead_ && !shared_.failing && !hangs(); }

  // Made beforehand: when they are wanted there may be no memory.
  const Error hung_{503, "engine_hung", "",
                    "The model has stopped responding; this request was ended.", 30};
  const Error stopped_{503, "shutting_down", "", "The server is shutting down.", 5};

  EngineShared shared_;
  RunnerInfo info_;  // written before the constructor returns
  CachePlan plan_;   // likewise
  std::atomic<bool> draining_{false};
  std::atomic<bool> dead_{false};
  std::atomic<std::uint64_t> hangs_{0};
  std::thread thread_;
  std::unique_ptr<Watchdog> watchdog_;
};

Engine::Engine(EngineOptions options, MakeRunner make_runner, EngineObserver* observer)
    : impl_(std::make_unique<Impl>(options, std::move(make_runner), observer)) {}

Engine::~Engine() = default;

Result<RequestHandle> Engine::submit(GenerateJob job, std::function<void()> on_ready) {
  return impl_->submit(std::move(job), std::move(on_ready));
}

void Engine::drain() { impl_->drain(); }
void Engine::abort_all(Error error) { impl_->abort_all(error); }
const RunnerInfo& Engine::info() const { return impl_->info(); }
int Engine::longest_sequence() const { return impl_->longest_sequence(); }
EngineStats Engine::stats() const { return impl_->stats(); }

}  // namespace mlxd
