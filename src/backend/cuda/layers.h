// The blocks of a plan on the card, and the buffers that a step of them needs.
#pragma once

#include <optional>
#include <vector>

#include "backend/cuda/kv_cache.h"
#include "backend/cuda/state_slots.h"
#include "backend/cuda/step_input.h"
#include "backend/cuda/step_memory.h"
#include "backend/cuda/weights.h"

namespace mlxd::cuda_backend {

// Where a step's values lie on the card: [rows, ...] each.
struct Workspace {
  float* x = nullptr;      // the residual stream
  float* heads = nullptr;  // q, k and v
  float* y = nullptr;      // a block's output before its norm
  void* h16 = nullptr;     // what a product reads
  void* q16 = nullptr;
  void* wide16 = nullptr;  // heads' outputs, or the hidden layer
  float* scratch = nullptr;
  float* scores = nullptr;      // of experts; or the factors of a delta net
  float* mixed = nullptr;       // a delta net's rows behind its convolution, and what they leave
  float* expert_out = nullptr;  // [pairs]
  void* pairs = nullptr;        // of rows and experts (sorted_pairs)
};

// What all layers of a step share.
struct StepContext {
  Element element;
  int rows;
  const DeviceStep& input;
  const Workspace& space;
  const PagedKv& cache;
  const StateSlots& states;
  cudaStream_t stream;
};

Epilogue activation_of(Activation activation, bool gated);

// x = stream_scale * (x + factor * post_norm(W from)), in one launch where nothing comes between.
void add_to_stream(const StepContext& step, const DeviceLinear& linear, const void* from16,
                   const Norm& post_norm, float factor, float stream_scale);

class AttentionLayer {
 public:
  AttentionLayer(const AttentionBlock& block, Weights& weights);
  void run(const StepContext& step) const;
  const AttentionShape& shape() const { return shape_; }

 private:
  int layer_;
  int width_;  // of the residual stream
  Norm input_norm_, post_norm_;
  std::vector<DeviceLinear> heads_;  // q, k and v; or a matrix of each
  AttentionShape shape_;
  DeviceLinear output_;
  float residual_scale_;
};

class FeedForwardLayer {
 public:
  FeedForwardLayer(const FeedForwardBlock& block, Weights& weights);
  void run(const StepContext& step) const;

 private:
  int width_, hidden_;
  Norm input_norm_, post_norm_;
  DeviceLinear into_, down_;
  Epilogue activation_;
  float residual_scale_, stream_scale_;
};

}  // namespace mlxd::cuda_backend
