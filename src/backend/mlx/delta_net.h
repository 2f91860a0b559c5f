#pragma once

#include "backend/mlx/layers.h"
#include "backend/mlx/recurrence.h"
#include "backend/mlx/state_cache.h"

namespace mlxd::mlx_backend {

// A gated delta net (model_plan.h), by MLX's own operations: prompts in chunks, in the matrix form
// of Yang, Wang, Zhang, Shen, Kim 2024 ("Parallelizing linear transformers with the delta rule").
class DeltaNetLayer {
 public:
  DeltaNetLayer(const DeltaNetBlock& block, WeightLoader& loader);
  // x [T, D] float32 -> x + its output; `type`: of what matrices read.
  mx::array apply(const mx::array& x, mx::Dtype type, StateCache& states,
                  const StepLayout& layout) const;

 private:
  // What rows of one sequence give to the recurrence, float32.
  struct Rows {
    mx::array query, key, value;  // [T, value_heads, key_dim or value_dim]
    mx::array decay, beta;        // [T, value_heads]; decay is a logarithm
  };

  Rows mix(const mx::array& convolved, const mx::array& alpha, const mx::array& beta) const;
  static Advanced advance(const Rows& rows, const mx::array& heads);
  static Advanced advance_one(const Rows& row, const mx::array& heads);

  DeltaNetBlock block_;
  NormLayer input_norm_;
  LinearLayer qkv_, gate_, alpha_, beta_;
  ConvolutionLayer convolution_;
  mx::array decay_, time_bias_;  // [value_heads]
  mx::array key_heads_;          // [value_heads]: which each reads
  NormLayer norm_;
  LinearLayer output_;
};

}  // namespace mlxd::mlx_backend
