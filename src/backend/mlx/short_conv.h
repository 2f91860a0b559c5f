#pragma once

#include <optional>

#include "backend/mlx/layers.h"
#include "backend/mlx/recurrence.h"
#include "backend/mlx/state_cache.h"

namespace mlxd::mlx_backend {

// A short convolution between two gates (model_plan.h).
class ShortConvLayer {
 public:
  ShortConvLayer(const ShortConvBlock& block, WeightLoader& loader);
  // x [T, D] float32 -> x + its output; `type`: of what matrices read.
  mx::array apply(const mx::array& x, mx::Dtype type, StateCache& states,
                  const StepLayout& layout) const;

 private:
  int layer_;
  float residual_scale_;
  NormLayer input_norm_;
  LinearLayer inner_gate_, outer_gate_, value_;
  ConvolutionLayer convolution_;
  LinearLayer output_;
};

}  // namespace mlxd::mlx_backend
