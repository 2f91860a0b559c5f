#pragma once

#include <cstddef>

#include "backend/cpu/convolution_rows.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/state_cache.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// The short convolutions of a model. Channels do not know each other, so that some of them, for all
// of a sequence's rows, one after another, are one piece of work.
class ShortConvLayers {
 public:
  // Both must outlive this.
  ShortConvLayers(StepPhases& step, StateCache& states);
  ShortConvLayers(const ShortConvLayers&) = delete;  // the phases point into it
  ShortConvLayers& operator=(const ShortConvLayers&) = delete;

  // `last`: after it only rows whose logits are wanted go on.
  void add(const PackedShortConv& block, const Residual* left, bool last);

  // Between two steps.
  void reserve(int rows);
  std::size_t bytes() const;
  // What `reserve` takes for blocks of so many channels.
  static std::size_t bytes_for(int rows, int channels);

 private:
  void mix(const PackedShortConv& block, const Stream& to, const BatchSequence& sequence,
           Range channels);

  StepPhases& step_;
  RowBuffer value_;                    // [rows, channels], gated in place
  RowBuffer inner_gate_, outer_gate_;  // [rows, channels]
  ConvolutionRows convolution_;        // over value_
  int channels_ = 0;                   // of the widest block
  InputBuffer mixed_;                  // [rows, channels]
};

}  // namespace mlxd::cpu
