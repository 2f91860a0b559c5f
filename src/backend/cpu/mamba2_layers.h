#pragma once

#include <cstddef>
#include <vector>

#include "backend/cpu/convolution_rows.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/state_cache.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// The Mamba-2 blocks of a model, and what they share. Rows go through a state one by one, as
// through that of a gated delta net (delta_net_layers.h), and for the same reasons.
class Mamba2Layers {
 public:
  // Both must outlive this.
  Mamba2Layers(StepPhases& step, StateCache& states);
  Mamba2Layers(const Mamba2Layers&) = delete;  // the phases point into it
  Mamba2Layers& operator=(const Mamba2Layers&) = delete;

  // `last`: after it only rows whose logits are wanted go on.
  void add(const PackedMamba2& block, const Residual* left, bool last);

  // Between two steps.
  void reserve(int rows);
  std::size_t bytes() const;
  // What `reserve` takes for blocks of these widths.
  static std::size_t bytes_for(int rows, int channels, int values, int heads);

 private:
  void convolve(const PackedMamba2& block, int row);
  void weigh(const PackedMamba2& block, int row);
  void advance(const PackedMamba2& block, int worker, const BatchSequence& sequence, int head,
               int part);
  void finish(const PackedMamba2& block, const Stream& to, int row);

  StepPhases& step_;
  StateCache& states_;
  RowBuffer input_, mixed_;      // [rows, channels], before and after the convolution
  ConvolutionRows convolution_;  // over input_
  int channels_ = 0, values_ = 0, heads_ = 0, state_floats_ = 0;  // of the widest block
  std::vector<AlignedArray<float>> scratch_;                      // by worker: a head's columns
  RowBuffer gate_, heads_out_;                                    // [rows, values]
  RowBuffer time_, decay_;                                        // [rows, heads]
  InputBuffer gated_;                                             // [rows, values]
};

}  // namespace mlxd::cpu
