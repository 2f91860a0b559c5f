#pragma once

#include <functional>
#include <memory>

#include "base/error.h"
#include "engine/engine_options.h"
#include "engine/engine_stats.h"
#include "engine/generate_job.h"
#include "engine/model_runner.h"
#include "engine/request_handle.h"

namespace mlxd {

// What the inference thread reports as it goes; called on it, must be quick and must not throw.
class EngineObserver {
 public:
  virtual ~EngineObserver() = default;
  virtual void on_step(double /*seconds*/, int /*rows*/, int /*sequences*/) {}
};

// The inference thread and its queue:
//
//   Engine engine({}, [&] { return cpu::make_cpu_runner(plan, {}); });
//   auto request = engine.submit({.prompt = tokens, .max_tokens = 100, .stop_ids = {eos}});
//   while (auto event = request->next_until(TimePoint::max())) { ... }  // to RequestFinished
//
// Every request that submit accepts gets exactly one RequestFinished, whatever fails; the handle
// may outlive the engine. Construction starts the thread, which makes the runner by
// `make_runner` (so that device objects belong to it) and rethrows here what that threw.
class Engine {
 public:
  using MakeRunner = std::function<std::unique_ptr<ModelRunner>()>;
  Engine(EngineOptions options, MakeRunner make_runner, EngineObserver* observer = nullptr);
  // Ends all requests with an error event and joins the thread; waits for the step that runs.
  ~Engine();

  // Any thread; reads what the prefix cache has on disk of the prompt, which may take a while.
  // Refuses with 429 queue_full, with 503 while draining or unhealthy, and with 400
  // what can never be computed (longer than the context or than all KV blocks, say). `on_ready` is
  // called when a channel that was empty has events, on the inference thread or whichever thread
  // ends the request; it must only signal, and owns what it touches: one call may still be under
  // way when the handle is gone.
  Result<RequestHandle> submit(GenerateJob job, std::function<void()> on_ready = {});

  // Any thread: no new requests from now on; those accepted go on.
  void drain();
  // Any thread: ends every request, at once, with an error event of this code and message.
  void abort_all(Error error);

  const RunnerInfo& info() const;  // any thread
  // Tokens at most of a prompt and its answer: the model's context, or what all KV blocks hold
  // where that is less. Any thread.
  int longest_sequence() const;
  EngineStats stats() const;  // any thread

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mlxd
