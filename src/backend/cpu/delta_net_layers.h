#pragma once

#include <cstddef>

#include "backend/cpu/head_states.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// The gated delta nets of a model, and what they share.
class DeltaNetLayers {
 public:
  // Both must outlive this.
  DeltaNetLayers(StepPhases& step, StateCache& states) : step_(step), states_(step, states) {}

  // `last`: after it only rows whose logits are wanted go on.
  void add(const PackedDeltaNet& block, const Residual* left, bool last);

  // Between two steps.
  void reserve(int rows) { states_.reserve(rows); }
  std::size_t bytes() const { return states_.bytes(); }

 private:
  void convolve(const PackedDeltaNet& block, int row);
  void weigh(const PackedDeltaNet& block, int row);
  void finish(const PackedDeltaNet& block, const Stream& to, int row);

  StepPhases& step_;
  HeadStates states_;
};

}  // namespace mlxd::cpu
