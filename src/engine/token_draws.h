#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "engine/draw.h"
#include "engine/model_runner.h"
#include "engine/planned_step.h"
#include "engine/sampler.h"
#include "engine/sequence.h"
#include "engine/token_constraint.h"

namespace mlxd {

// How a sequence's next token is drawn: what its parameters, its counts and what its answer is held
// to say of it, for a runner that draws, or for the sampler here. Inference thread only.
class TokenDraws {
 public:
  // Both outlive it.
  TokenDraws(const RunnerInfo& info, Sampler& sampler) : info_(info), sampler_(sampler) {}

  // Begins a step's: forgets the last one's.
  void clear();
  // Those of a part, whose rows to be drawn from begin at `first_wanted` of the step's wanted ones:
  // all of them, or, where a constraint throws, none.
  void add(const StepPart& part, int first_wanted);
  std::span<const Draw> all() const { return draws_; }

  // What the runner drew; an error where it could not.
  Result<SampledToken> checked(Sequence& sequence, SampledToken& drawn);
  // Draws here: of a row of logits [vocab_size].
  Result<SampledToken> draw(Sequence& sequence, std::span<float> logits);

 private:
  Draw draw_of(const Sequence& sequence, int drafted) const;
  std::span<const std::uint32_t> fill_mask(TokenConstraint& constraint);

  const RunnerInfo& info_;
  Sampler& sampler_;
  std::vector<Draw> draws_;
  std::vector<std::vector<std::uint32_t>> masks_;  // [draws with a mask]
  std::size_t masks_used_ = 0;
};

}  // namespace mlxd
