#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/drafter.h"
#include "engine/engine_shared.h"
#include "engine/model_runner.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/token_draws.h"

namespace mlxd {

// What a step gives becomes what readers get: draws are asked for, tokens become events, samples
// fork and end. Inference thread only.
//
// Where the runner draws, a step's tokens are asked for with `ask` while it runs; otherwise they
// are drawn here from its logits, row by row, as it is delivered. Both give the same tokens.
class Delivery {
 public:
  // `publish` makes the figures known, without needing memory; all outlive this.
  Delivery(EngineShared& shared, const RunnerInfo& info, Scheduler& scheduler, Drafter& drafter,
           EngineStats& stats, std::function<void()> publish);

  // The first sequence of a request that has arrived; none when there is nothing to compute, and it
  // has ended.
  void begin(Request& request, std::uint64_t age);
  // A step with rows of the request is launched.
  void note_begun(Request& request);

  // The draws of a step's parts, in their order; says in each part which are its own. Those of
  // sequences that have ended are left out. Valid until the next call.
  std::span<const Draw> ask(std::span<StepPart> parts);
  // Whether the output holds what was wanted and asked for.
  bool fits(const StepOutput& output, std::span<const StepPart> parts) const;
  // Hands out what the step gave to the parts that go on; a part that cannot be delivered fails.
  void deliver(std::span<const StepPart> parts, StepOutput& output);

  // Ends the samples whose readers want no more of them.
  void drop_stopped_samples(Request& request);
  void fail(Request& request) noexcept;
  void end_late(Request& request) noexcept;  // its time is up
  void end(Request& request, RequestFinished::Outcome outcome, Error error = {}) noexcept;
  // Requests that have ended so far.
  std::uint64_t ended() const { return ended_; }

 private:
  struct PartOutput {
    std::span<float> logits;        // of its rows that gave logits
    std::span<SampledToken> drawn;  // of its draws
    std::span<const float> pooled;  // what its sequence was pooled into; empty before the last row
  };

  Sequence& add_sequence(Request& request, std::uint64_t age, std::span<const int> tokens);
  // Rows of logits that it hands out.
  int logit_rows(const StepPart& part) const {
    return part.sequence->pooled ? 0 : part.logit_rows - (info_.draws ? part.draws : 0);
  }
  std::size_t pooled_numbers(const StepPart& part) const {
    return part.sequence->pooled && part.logit_rows > 0 ? info_.pooled_size : 0;
  }

  void deliver_safely(const StepPart& part, PartOutput output);
  void deliver(const StepPart& part, PartOutput output);
  void deliver_pooled(Sequence& sequence, std::span<const float> values);
  void tell_progress(const Sequence& sequence);
  void deliver_prompt(const StepPart& part, std::span<float> logits);
  void fork(Request& request);
  void take_as_drafted(const StepPart& part, PartOutput output);
  void take(Sequence& sequence, PartOutput output, int row, int draw);
  Result<SampledToken> token_of(Sequence& sequence, PartOutput output, int row, int draw);
  void finish_sample(Sequence& sequence, FinishReason reason, int token = -1);
  Error late(const Request& request) const noexcept;
  void let_go(Sequence& sequence, bool failed) noexcept;

  EngineShared& shared_;
  const RunnerInfo& info_;
  Scheduler& scheduler_;
  Drafter& drafter_;
  EngineStats& stats_;
  const std::function<void()> publish_;
  Sampler sampler_;
  TokenDraws draws_;
  std::uint64_t ended_ = 0;
};

}  // namespace mlxd
