#pragma once

#include <cstddef>
#include <vector>

#include "backend/cpu/convolution_rows.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/state_cache.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// The gated delta nets of a model, and what they share.
//
// Rows go through it one by one, in prompts too: with 128 dimensions the products of a chunk's
// matrix form are more arithmetic than the rows' own, and a row's bits must not depend on where a
// step cuts the prompt.
class DeltaNetLayers {
 public:
  // Both must outlive this.
  DeltaNetLayers(StepPhases& step, StateCache& states);
  DeltaNetLayers(const DeltaNetLayers&) = delete;  // the phases point into it
  DeltaNetLayers& operator=(const DeltaNetLayers&) = delete;

  // `last`: after it only rows whose logits are wanted go on.
  void add(const PackedDeltaNet& block, const Residual* left, bool last);

  // Between two steps.
  void reserve(int rows);
  std::size_t bytes() const;
  // What `reserve` takes for blocks of these widths.
  static std::size_t bytes_for(int rows, int channels, int values, int heads);

 private:
  void convolve(const PackedDeltaNet& block, int row);
  void weigh(const PackedDeltaNet& block, int row);
  void advance(const PackedDeltaNet& block, int worker, int sequence, int head, int columns);
  void finish(const PackedDeltaNet& block, const Stream& to, int row);

  StepPhases& step_;
  StateCache& states_;
  ConvolutionRows convolution_;                                   // over qkv_
  int channels_ = 0, values_ = 0, heads_ = 0, state_floats_ = 0;  // of the widest block
  std::vector<AlignedArray<float>> scratch_;                      // by worker: a head's columns
  RowBuffer qkv_, mixed_;       // [rows, channels], before and after the convolution
  RowBuffer gate_, heads_out_;  // [rows, values]
  RowBuffer decay_, beta_;      // [rows, heads]
  InputBuffer gated_;           // [rows, values]
};

}  // namespace mlxd::cpu
