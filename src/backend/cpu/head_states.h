#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

#include "backend/cpu/convolution_rows.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/state_cache.h"
#include "backend/cpu/step_phases.h"
#include "backend/cpu/vector_ops.h"

namespace mlxd::cpu {

// What blocks share in which a convolution's rows move on a state of matrices, one a head: gated
// delta nets and Mamba-2. The rows on their way through a block, and the phase in which the states
// move.
//
// Rows go through a state one by one, in prompts too: with 128 dimensions the products of a chunk's
// matrix form are more arithmetic than the rows' own, and a row's bits must not depend on where a
// step cuts the prompt.
class HeadStates {
 public:
  // Of one block.
  struct Shape {
    int layer = 0, kernel = 0, channels = 0;
    int heads = 0, key_dim = 0, value_dim = 0;
  };
  // Where in a row after the convolution a head has what moves its state on, and its
  // StateRows::skip.
  struct HeadRow {
    int query = 0, key = 0, value = 0;
    float skip = 0;
  };
  struct Widths {
    int channels = 0, values = 0, heads = 0;  // of the widest block; 0: there is none

    void include(int block_channels, int block_heads, int value_dim) {
      channels = std::max(channels, block_channels);
      values = std::max(values, block_heads * value_dim);
      heads = std::max(heads, block_heads);
    }
  };

  // Both must outlive this.
  HeadStates(StepPhases& step, StateCache& states);
  HeadStates(const HeadStates&) = delete;  // the phases point into it
  HeadStates& operator=(const HeadStates&) = delete;

  RowBuffer input, mixed;  // [rows, channels], before and after the convolution
  RowBuffer gate, out;     // [rows, values]
  RowBuffer decay, beta;   // [rows, heads], as StateRows has them
  InputBuffer gated;       // [rows, values], what the block's last product reads

  // On a worker: a row of `input` and those before it become a row of `mixed`, by silu. `weights`
  // [kernel, channels], `bias` [channels] or empty.
  void convolve(const Shape& shape, const std::vector<float>& weights,
                const std::vector<float>& bias, int row);
  // Adds the phase that moves the states of all sequences on by `rule`, makes `out`, and saves what
  // the sequences ask for.
  void add_advance(const Shape& shape, void (*VectorOps::*rule)(const StateRows&),
                   std::function<HeadRow(int head)> head_row);

  // Between two steps.
  void reserve(int rows);
  std::size_t bytes() const;
  // What `reserve` takes for blocks of these widths.
  static std::size_t bytes_for(int rows, const Widths& widths);

 private:
  void advance(const Shape& shape, void (*rule)(const StateRows&), const HeadRow& at, int worker,
               const BatchSequence& sequence, int head, int part);

  StepPhases& step_;
  StateCache& states_;
  ConvolutionRows convolution_;  // over `input`
  Widths widths_;
  int state_floats_ = 0;                      // of the columns that are moved on at a time
  std::vector<AlignedArray<float>> scratch_;  // by worker: those
};

// log(1 + e^x)
float softplus(float x);

}  // namespace mlxd::cpu
