// Models for a ModelPool: fake engines that are counted while they live.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/fake/fake_runner.h"
#include "models/model_pool.h"

namespace mlxd::testing {

// What the fakes of one test have done.
struct Ledger {
  std::atomic<std::size_t> bytes{0};  // of engines that live
  std::atomic<int> loads{0};
};

class CountedRunner : public FakeRunner {
 public:
  CountedRunner(std::shared_ptr<Ledger> ledger, std::size_t bytes, FakeOptions options)
      : FakeRunner(std::move(options)), ledger_(std::move(ledger)), bytes_(bytes) {
    ledger_->bytes += bytes_;
  }
  ~CountedRunner() override { ledger_->bytes -= bytes_; }

 private:
  const std::shared_ptr<Ledger> ledger_;
  const std::size_t bytes_;
};

// `before_load` runs on the pool's thread before each load, and may wait or throw; `runner` is what
// the engine runs: a step with a hook hangs after 0.1 s.
inline PooledModel pooled(std::shared_ptr<Ledger> ledger, std::string id, std::size_t bytes,
                          std::function<void()> before_load = {}, FakeOptions runner = {}) {
  PooledModel model;
  model.model.id = std::move(id);
  model.bytes = bytes;
  model.load = [ledger = std::move(ledger), bytes, before_load = std::move(before_load),
                runner](const LoadProgress&) {
    ++ledger->loads;
    if (before_load) before_load();
    EngineOptions options;
    options.kv_blocks = 64;
    if (runner.before_step) options.hang_seconds = 0.1;
    return std::make_unique<Engine>(options, [ledger, bytes, runner] {
      return std::make_unique<CountedRunner>(ledger, bytes, runner);
    });
  };
  return model;
}

inline PooledModel pinned(PooledModel model) {
  model.pinned = true;
  return model;
}

template <class... Models>
std::vector<PooledModel> list(Models... models) {
  std::vector<PooledModel> all;
  (all.push_back(std::move(models)), ...);
  return all;
}

using Answer = std::future<Result<ModelLease>>;

inline Answer ask(ModelPool& pool, const std::string& name,
                  TimePoint deadline = Clock::now() + std::chrono::seconds(30)) {
  const auto promise = std::make_shared<std::promise<Result<ModelLease>>>();
  pool.acquire(name, deadline,
               [promise](Result<ModelLease> lease) { promise->set_value(std::move(lease)); });
  return promise->get_future();
}

inline bool is_answered(const Answer& answer) {
  return answer.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

// A request to the end: whether a lease's engine answers.
inline bool answers(const ModelLease& lease) {
  GenerateJob job;
  job.id = "request";
  job.prompt = {1, 2, 3};
  job.max_tokens = 2;
  auto handle = lease->engine->submit(std::move(job));
  if (!handle) return false;
  while (auto event = handle->next_until(Clock::now() + std::chrono::seconds(30))) {
    if (const auto* end = std::get_if<RequestFinished>(&*event)) {
      return end->outcome == RequestFinished::Outcome::completed;
    }
  }
  return false;
}

}  // namespace mlxd::testing
