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
#include "prefix_store/store_stats.h"

namespace mlxd {

// Logits of prompt rows that a step may hold beside those of decoding sequences.
inline constexpr std::size_t kPromptLogitBytes = std::size_t{64} << 20;

// The prefix cache's tier on disk.
struct PrefixDiskOptions {
  std::string directory;  // "": none
  std::uint64_t max_bytes = std::uint64_t{8} << 30;
  // Says which weights, by their contents, and whose computation: blocks of one name are found by
  // all who give it. Called once while the engine starts, and only if blocks can go to disk; what
  // it throws costs the tier alone.
  std::function<std::string()> model;
};

struct EngineOptions {
  int max_queued_requests = 256;  // waiting beyond this: 429
  // Likewise, tokens of their prompts; a prompt that is longer is taken when nothing else waits.
  std::int64_t max_queued_tokens = 1 << 18;
  int max_running_sequences = 64;  // rows of a decode step
  int max_step_tokens = 512;       // rows of a step, prefill included
  // Prompts are cut so that a step takes about so long, as measured, and a slow machine with a long
  // prompt does not look hung. Beside sequences that decode they are cut smaller: StepPace.
  double target_step_seconds = 0.5;
  // Tokens at most that a decoding sequence guesses from its own text and checks in one step: the
  // same answers in fewer steps where a text repeats itself. 0: none.
  int max_draft_tokens = 8;
  int kv_blocks = 0;  // 0: as many as kv_bytes hold
  std::size_t kv_bytes = std::size_t{1} << 30;
  bool prefix_cache = true;         // prompts that begin alike are computed once while blocks last
  PrefixDiskOptions prefix_disk{};  // beyond that
  int channel_capacity = 256;    // events a slow reader may leave unread before its sequence pauses
  double hang_seconds = 10;      // a step longer than this makes the engine unhealthy
  bool check_integrity = false;  // after each step, for tests; debug builds do it whenever idle
};

constexpr int kHighestPriority = 9;

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
  // 0 .. kHighestPriority: more urgent requests begin first, and take the place of less urgent
  // ones.
  int priority = 0;
  // Whose request it is: callers take turns, however many requests each has.
  std::uint64_t caller = 0;
  // Requests of one salt share the prefix cache: what another salt's prompts were cannot be told
  // from how long an answer takes.
  std::uint64_t cache_salt = 0;
  TimePoint deadline = TimePoint::max();
};

// What a model holds, in bytes.
struct MemoryUse {
  std::size_t weights = 0;
  std::size_t kv_cache = 0;     // blocks that requests hold or the prefix cache knows
  std::size_t kv_reserved = 0;  // all blocks; most systems give memory as it is first written
  std::size_t buffers = 0;      // of steps: values and logits; of blocks on their way to disk
};

struct EngineStats {
  int queued_requests = 0;         // accepted and not begun
  std::int64_t queued_tokens = 0;  // of their prompts
  int live_requests = 0;           // accepted and not ended; 0: a drain is over
  int running_sequences = 0;       // that hold KV blocks, the paused ones included
  int paused_sequences = 0;        // of these: their readers are behind
  int preempted_sequences = 0;     // had begun, gave up their blocks, and wait to be computed again
  int kv_blocks_used = 0;          // that requests hold
  int kv_blocks_cached = 0;  // that no request holds and the prefix cache knows: free when needed
  int kv_blocks_total = 0;
  MemoryUse memory;
  std::uint64_t steps = 0;
  std::uint64_t prompt_tokens = 0;  // computed; not those found in the prefix cache
  std::uint64_t cached_prompt_tokens = 0;
  std::uint64_t generated_tokens = 0;
  std::uint64_t drafted_tokens = 0;   // guesses that were computed
  std::uint64_t accepted_tokens = 0;  // of these, those that came true: each saved a step
  std::uint64_t preemptions = 0;
  PrefixStoreStats prefix_store;
  double heartbeat_age_seconds = 0;  // since the inference thread last showed life; 0 when idle
  bool healthy = true;               // false: a step hangs, or the thread has died
  std::uint64_t hangs = 0;           // steps that did and cost requests, though they may have ended
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

  std::optional<TokenEvent> try_next();                   // never blocks
  std::optional<TokenEvent> next_until(TimePoint limit);  // for command-line use and tests
  // Ends one sample early (a stop string was found in its text); its SampleFinished may still come
  // and is to be ignored.
  void stop_sample(int sample);
  void cancel();

 private:
  std::shared_ptr<Shared> shared_;
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
