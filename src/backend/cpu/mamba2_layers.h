#pragma once

#include <cstddef>

#include "backend/cpu/head_states.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// The Mamba-2 blocks of a model, and what they share.
class Mamba2Layers {
 public:
  // Both must outlive this.
  Mamba2Layers(StepPhases& step, StateCache& states) : step_(step), states_(step, states) {}

  // `last`: after it only rows whose logits are wanted go on.
  void add(const PackedMamba2& block, const Residual* left, bool last);

  // Between two steps.
  void reserve(int rows) { states_.reserve(rows); }
  std::size_t bytes() const { return states_.bytes(); }

 private:
  void weigh(const PackedMamba2& block, int row);
  void finish(const PackedMamba2& block, const Stream& to, int row);

  StepPhases& step_;
  HeadStates states_;  // its beta is the time
};

}  // namespace mlxd::cpu
