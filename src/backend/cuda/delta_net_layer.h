#pragma once

#include "backend/cuda/delta_net_kernels.h"
#include "backend/cuda/layers.h"

namespace mlxd::cuda_backend {

// A gated delta net (DeltaNetBlock).
class DeltaNetLayer {
 public:
  DeltaNetLayer(const DeltaNetBlock& block, Weights& weights);
  void run(const StepContext& step) const;

 private:
  int layer_, width_;
  Norm input_norm_;
  std::vector<DeviceLinear> into_;  // qkv and gate, in one matrix or two
  const float* factors_;            // alpha's rows, then beta's
  const float* factor_bias_ = nullptr;
  DeltaNetShape shape_;
  DeviceLinear output_;
  float residual_scale_;
};

}  // namespace mlxd::cuda_backend
