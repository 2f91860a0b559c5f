#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/block_mover.h"
#include "engine/block_pools.h"
#include "engine/cache_plan.h"
#include "engine/delivery.h"
#include "engine/drafter.h"
#include "engine/engine_shared.h"
#include "engine/model_runner.h"
#include "engine/prefix_groups.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/state_pool.h"
#include "engine/step_pace.h"

namespace mlxd {

// So many steps of one sequence in a row that fail, and a probe after them, make the engine
// unhealthy until a step works.
inline constexpr int kMostFailures = 3;
// So often an engine that is unhealthy and has nothing to compute tries a step.
inline constexpr double kProbeSeconds = 0.5;

// The inference thread's work: take what arrived, drop what ended, plan a step, launch it, deliver
// what it gave; asleep when there is nothing to compute. Of a runner that allows it the next step
// is planned and launched while one runs, and that one delivered while the next runs.
//
// A fault costs those who caused it and no one else. What fails in a step, in the arrival of a
// request or in the delivery of its events is that request's. Where memory runs out in between, or
// the device loses its cache, all that is planned is let go and computed again, and a request ends
// only when that does not help. Any other exception there is a bug and ends the thread.
class InferenceLoop {
 public:
  InferenceLoop(EngineShared& shared, ModelRunner& runner, const CachePlan& plan);

  // Until `stopping`.
  void run();

 private:
  // A step from its launch to its end.
  struct Flight {
    TimePoint started;
    int rows = 0, drafted = 0, decoding = 0, sequences = 0;
    bool launched = false;  // the runner has it, and is to be waited for
    bool failed = false;
    bool behind = false;  // failed since the step before it did
  };

  void turn();
  void start_over(const char* why) noexcept;
  Request& least_entitled() const;

  void take_arrivals();
  void sweep();
  void heed_readers();
  void propose_drafts();
  bool draft_forced(Sequence& sequence, int most);
  void sleep();

  bool launch_next();
  void ask_newest();
  void complete_oldest();
  void abandon_behind();
  void repeat_one_by_one(PlannedStep& step, bool behind);
  bool run_single(PlannedStep& step, const StepPart& part);
  bool wait(std::span<const StepPart> parts);
  // False when it throws, which is noted: a step failed.
  template <class Work>
  bool attempt(Work work) {
    try {
      work();
      return true;
    } catch (...) {
      note_exception();
    }
    return false;
  }
  void note_exception() noexcept;  // the one that is being handled
  void reserve_output(const Batch& batch);

  void note_success();
  void note_failure();
  bool probe();

  void forget_ended();
  void publish();
  void check_integrity() const;

  EngineShared& shared_;
  ModelRunner& runner_;
  BlockPools blocks_;
  const std::unique_ptr<StatePool> states_;  // null for models without
  // Null when it is switched off, and for models without a full KV group.
  const std::unique_ptr<PrefixGroups> cache_;
  const std::unique_ptr<BlockMover> mover_;  // null when nothing goes to disk
  Scheduler scheduler_;
  const std::unique_ptr<Drafter> drafter_;
  EngineStats stats_;
  Delivery delivery_;
  StepPace pace_;
  std::array<Flight, 2> flights_;  // the oldest first
  int in_flight_ = 0;
  TimePoint last_over_{};  // when a step last ended
  StepOutput output_;
  Batch probe_;
  std::vector<DraftAsk> asks_;
  std::vector<std::unique_ptr<Request>> requests_;  // in order of arrival
  std::uint64_t arrivals_ = 0;
  bool cache_lost_ = false;
  int start_overs_ = 0;                    // since a request ended
  std::uint64_t ended_at_start_over_ = 0;  // requests, as of the last of these
  int failures_ = 0;                       // steps of one sequence in a row
  TimePoint next_probe_{};
};

}  // namespace mlxd
