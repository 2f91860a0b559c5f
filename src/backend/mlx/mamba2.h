#pragma once

#include <optional>

#include "backend/mlx/layers.h"
#include "backend/mlx/recurrence.h"
#include "backend/mlx/state_cache.h"

namespace mlxd::mlx_backend {

// Mamba-2 (model_plan.h) by MLX's own operations: prompts in chunks, in the matrix form of its
// paper (Dao & Gu 2024, "structured state space duality").
class Mamba2Layer {
 public:
  Mamba2Layer(const Mamba2Block& block, WeightLoader& loader);
  // x [T, D] float32 -> x + its output; `type`: of what matrices read.
  mx::array apply(const mx::array& x, mx::Dtype type, StateCache& states,
                  const StepLayout& layout) const;

 private:
  // What rows of one sequence give to the recurrence, float32.
  struct Rows {
    mx::array value;        // [T, heads, head_dim], times the time
    mx::array write, read;  // [T, heads, state_size]: b and c
    mx::array decay;        // [T, heads], a logarithm
  };

  static Advanced advance(const Rows& rows, const mx::array& heads);

  Mamba2Block block_;
  NormLayer input_norm_;
  LinearLayer gate_, input_, time_;
  ConvolutionLayer convolution_;
  mx::array decay_, time_bias_;  // [heads]
  mx::array skip_;               // [heads, 1]
  mx::array groups_;             // [heads]: which each reads
  mx::array norm_;               // [heads head_dim]
  LinearLayer output_;
};

}  // namespace mlxd::mlx_backend
