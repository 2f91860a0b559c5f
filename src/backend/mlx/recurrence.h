#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "backend/mlx/layers.h"
#include "backend/mlx/state_cache.h"

namespace mlxd::mlx_backend {

// What the layers with a recurrent state share. Everything is float32.

mx::array as_float(const mx::array& x);
mx::array silu(const mx::array& x);
mx::array softplus(const mx::array& x);
mx::array rows_of(const mx::array& x, int first, int end);  // of the first dimension

// [T, heads, d] -> [heads, chunks, size, d], rows of zeros behind the last.
mx::array in_chunks(const mx::array& x, int chunks, int size);
mx::array chunk_of(const mx::array& x, int index);  // [heads, chunks, ...] -> [heads, ...]

// A causal convolution, each channel by itself.
class ConvolutionLayer {
 public:
  // `weights` [channels, kernel], the oldest row first; `bias` [channels] or empty.
  ConvolutionLayer(const std::vector<float>& weights, const std::vector<float>& bias, int kernel);
  int kernel() const { return kernel_; }
  // input [kernel - 1 + rows, channels] -> [rows, channels]
  mx::array apply(const mx::array& input, int rows) const;

 private:
  int kernel_;
  mx::array weights_;  // [kernel, channels]
  std::optional<mx::array> bias_;
};

// Some rows of one sequence.
struct Advance {
  mx::array input;  // [kernel - 1 + end - first, channels]: those rows and the ones before them
  int first = 0, end = 0;  // rows of the step
  mx::array heads;         // the state before them (StateCache::State)
};
struct Advanced {
  mx::array out, heads;  // [end - first, ...], and the state after them
};

// Moves the states of all sequences of a step on, each up to each row after which it is saved and
// over the rest; `rows` [T, channels] are what the convolution reads. -> [T, ...]
mx::array run_recurrence(int layer, int kernel, const mx::array& rows, StateCache& states,
                         const StepLayout& layout,
                         const std::function<Advanced(const Advance&)>& advance);

}  // namespace mlxd::mlx_backend
