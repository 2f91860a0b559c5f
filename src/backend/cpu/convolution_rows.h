#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "backend/cpu/row_buffer.h"
#include "backend/cpu/state_cache.h"
#include "backend/cpu/step_phases.h"
#include "engine/batch.h"

namespace mlxd::cpu {

// What a causal convolution of a layer with a state reads: rows of the step, and before a
// sequence's first those that its state kept.
class ConvolutionRows {
 public:
  static constexpr int kMostKernel = 64;
  struct Layer {
    int layer = 0;  // of the state
    int kernel = 0, channels = 0;
  };
  using Window = std::array<const float*, kMostKernel>;  // [kernel], the oldest row first

  // `rows` [rows of the step, channels]; both must outlive this.
  ConvolutionRows(const StateCache& states, const RowBuffer& rows) : states_(states), rows_(rows) {}

  // Between two steps: room for layers of so many channels.
  void reserve(int channels) { zeros_.resize(static_cast<std::size_t>(channels)); }
  std::size_t bytes() const { return zeros_.capacity() * sizeof(float); }
  static std::size_t bytes_for(int channels) {
    return static_cast<std::size_t>(channels) * sizeof(float);
  }

  // What the sequence's row, counted from its first in this step, is made of, from a channel on.
  Window window(const Layer& of, const BatchSequence& sequence, int row, int channel = 0) const;

  // Keeps the last kernel - 1 rows of these channels for each of the sequence's saves. When all
  // its rows are computed that read the state.
  void save(const Layer& of, const BatchSequence& sequence, Range channels) const;

 private:
  const float* at(const Layer& of, const BatchSequence& sequence, int row) const;

  const StateCache& states_;
  const RowBuffer& rows_;
  std::vector<float> zeros_;  // [channels]: a row before the first
};

}  // namespace mlxd::cpu
