#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/block_mover.h"
#include "engine/block_pools.h"
#include "engine/cache_plan.h"
#include "engine/engine.h"
#include "engine/live_requests.h"
#include "engine/model_runner.h"
#include "engine/prefix_groups.h"
#include "engine/queue_rate.h"
#include "engine/request_shared.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/step_pace.h"
#include "engine/stored_prefixes.h"
#include "engine/watchdog.h"

namespace mlxd {

// What the inference thread shares with the callers of Engine.
struct EngineShared {
  explicit EngineShared(const EngineOptions& engine_options, EngineObserver* engine_observer)
      : options(engine_options),
        observer(engine_observer),
        inbox(std::make_shared<Inbox>(engine_options.max_queued_requests)) {}

  // A request has begun, ended before that, or could not be queued. Returns how many are queued.
  int leave_queue(int tokens) {
    inbox->queued_tokens -= tokens;
    return --inbox->queued;
  }

  const EngineOptions options;
  EngineObserver* const observer;  // may be null
  const std::shared_ptr<Inbox> inbox;
  LiveRequests live;
  Heartbeat heartbeat;
  QueueRate queue_rate;
  std::atomic<bool> stopping{false};
  // Null: the prefix cache has no tier on disk. Made by the inference thread before any caller.
  std::unique_ptr<StoredPrefixes> stored_prefixes;
  std::mutex stats_mutex;
  EngineStats stats;  // as of the last step; the live figures are added by Engine::stats
};

// The inference thread's work: take what arrived, drop what ended, schedule, step, sample, deliver;
// asleep when there is nothing to compute.
//
// A fault costs those who caused it and no one else. What fails in a step, in the arrival of a
// request or in the delivery of its events is that request's. Where memory runs out in between, all
// that is planned is let go and computed again, and a request ends only when that does not help.
// Any other exception there is a bug and ends the thread.
class InferenceLoop {
 public:
  InferenceLoop(EngineShared& shared, ModelRunner& runner, const CachePlan& plan);

  // Until `stopping`.
  void run();

 private:
  void turn();
  void start_over() noexcept;
  Request& least_entitled() const;

  void take_arrivals();
  void begin(std::unique_ptr<Request>& arrived);
  void sweep();
  void drop_stopped_samples(Request& request);
  void heed_readers();
  void propose_drafts();
  void sleep();

  void step();
  void step_one_by_one();
  bool run_batch(const Batch& batch);
  void deliver_safely(const StepPart& part, std::span<float> logits);
  void deliver(const StepPart& part, std::span<float> logits);
  void deliver_prompt(const StepPart& part, std::span<float> logits);
  void fork(Request& request);
  void draw_as_drafted(const StepPart& part, std::span<float> logits);
  void draw(Sequence& sequence, std::span<float> logits);

  void note_begun(Request& request);
  void finish_sample(Sequence& sequence, FinishReason reason);
  void fail(Request& request) noexcept;
  void end(Request& request, RequestFinished::Outcome outcome, Error error = {}) noexcept;
  void forget_ended();
  void publish();
  void check_integrity() const;

  EngineShared& shared_;
  ModelRunner& runner_;
  BlockPools blocks_;
  // Null when it is switched off, and for models without a full KV group.
  const std::unique_ptr<PrefixGroups> cache_;
  const std::unique_ptr<BlockMover> mover_;  // null when nothing goes to disk
  Scheduler scheduler_;
  Sampler sampler_;
  StepPace pace_;
  StepOutput output_;
  Batch single_;
  std::vector<std::unique_ptr<Request>> requests_;  // in order of arrival
  std::uint64_t arrivals_ = 0;
  int start_overs_ = 0;  // since a request ended
  EngineStats stats_;
};

}  // namespace mlxd
