#pragma once

#include "backend/cuda/expert_kernels.h"
#include "backend/cuda/layers.h"

namespace mlxd::cuda_backend {

// Experts and what every row takes beside them (ExpertsBlock).
class ExpertLayer {
 public:
  ExpertLayer(const ExpertsBlock& block, Weights& weights);
  void run(const StepContext& step) const;

 private:
  void run_shared(const StepContext& step) const;

  struct Shared {
    Norm input_norm, output_norm;
    DeviceLinear into, down;
    Epilogue activation;
    bool weighed = false;
  };

  int width_, hidden_;
  Norm input_norm_, router_norm_;
  const float *scores_, *score_bias_;  // of all scores: experts', and of the shared one
  int score_count_;
  ChoiceRule rule_;
  ExpertMatrix into_, down_;
  const float *into_bias_, *down_bias_;
  Epilogue activation_;
  std::optional<Shared> shared_;
  ExpertSum sum_;
};

}  // namespace mlxd::cuda_backend
