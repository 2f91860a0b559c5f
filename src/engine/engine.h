#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/channel.h"
#include "base/clock.h"
#include "base/error.h"
#include "engine/model_runner.h"
#include "engine/sampling_params.h"
#include "engine/token_event.h"

namespace mlxd {

struct EngineOptions {
  int max_queued_requests = 256;   // waiting beyond this: 429
  int max_running_sequences = 64;  // rows of a decode step
  int max_step_tokens = 512;       // rows of a step, prefill included
  int kv_blocks = 0;               // 0: as many as kv_bytes hold
  std::size_t kv_bytes = std::size_t{1} << 30;
  int channel_capacity = 256;      // events a slow reader may leave unread before its sequence pauses
  double hang_seconds = 10;        // a step longer than this makes the engine unhealthy
};

// What a request asks of the engine; everything in it was validated.
struct GenerateJob {
  std::string id;           // x-request-id, for logs
  std::vector<int> prompt;  // 1 .. context_length tokens
  SamplingParams sampling;
  int samples = 1;     // each draws with its own stream of the seed's random numbers
  int max_tokens = 0;  // per sample; prompt + max_tokens <= context_length; 0: prompt logprobs only
  int min_tokens = 0;  // stop ids cannot be drawn before
  bool ignore_eos = false;
  std::vector<int> stop_ids;
  int prompt_logprobs = -1;  // -1: none; else PromptToken events with that many alternatives
  TimePoint deadline = TimePoint::max();
};

struct EngineStats {
  int queued_requests = 0;
  int running_sequences = 0;
  int kv_blocks_used = 0;
  int kv_blocks_total = 0;
  std::uint64_t steps = 0;
  std::uint64_t prompt_tokens = 0;
  std::uint64_t generated_tokens = 0;
  std::uint64_t preemptions = 0;
  double heartbeat_age_seconds = 0;  // since the inference thread last showed life
  bool healthy = true;               // false: a step hangs, or the thread has died
};

// What the inference thread reports as it goes; called on it, must be quick and must not throw.
class EngineObserver {
 public:
  virtual ~EngineObserver() = default;
  virtual void on_step(double /*seconds*/, int /*rows*/, int /*sequences*/) {}
};

// The consumer's end of one request. Move-only; one thread at a time. Letting go of it before the
// terminal event cancels the request.
class RequestHandle {
 public:
  struct Shared;
  explicit RequestHandle(std::shared_ptr<Shared> shared);
  RequestHandle(RequestHandle&&) noexcept = default;
  RequestHandle& operator=(RequestHandle&&) noexcept;
  ~RequestHandle();

  std::optional<TokenEvent> try_next();                  // never blocks
  std::optional<TokenEvent> next_until(TimePoint limit);  // for command-line use and tests
  // Ends one sample early (a stop string was found in its text); its SampleFinished may still come
  // and is to be ignored.
  void stop_sample(int sample);
  void cancel();

 private:
  std::shared_ptr<Shared> shared_;
};

// The inference thread and its queue. Construction starts the thread, which makes the runner by
// `make_runner` (so that device objects belong to it) and rethrows here what that threw.
class Engine {
 public:
  using MakeRunner = std::function<std::unique_ptr<ModelRunner>()>;
  Engine(EngineOptions options, MakeRunner make_runner, EngineObserver* observer = nullptr);
  ~Engine();  // ends all requests with an error event, stops the thread

  // Any thread. Refuses with 429 (queue full) or 503 (draining, unhealthy). `on_ready` is called on
  // the inference thread when events wait in an empty channel, and must only signal.
  Result<RequestHandle> submit(GenerateJob job, std::function<void()> on_ready = {});

  // Any thread: no new requests from now on; those accepted go on.
  void drain();
  // Any thread: ends every request with an error event of this code and message.
  void abort_all(Error error);

  const RunnerInfo& info() const;  // any thread
  EngineStats stats() const;       // any thread

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mlxd
