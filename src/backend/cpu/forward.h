#pragma once

#include <cstddef>

#include "backend/cpu/attention_layers.h"
#include "backend/cpu/attention_step.h"
#include "backend/cpu/delta_net_layers.h"
#include "backend/cpu/expert_layers.h"
#include "backend/cpu/feed_forward_layers.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/kv_cache.h"
#include "backend/cpu/latent_attention_layers.h"
#include "backend/cpu/layer_input_layers.h"
#include "backend/cpu/mamba2_layers.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/short_conv_layers.h"
#include "backend/cpu/state_cache.h"
#include "backend/cpu/step_phases.h"
#include "backend/cpu/vector_ops.h"
#include "backend/cpu/worker_pool.h"
#include "engine/model_runner.h"

namespace mlxd::cpu {

// One forward step on all workers: the phases of the model's blocks, in their order.
class ForwardPass {
 public:
  // All references must outlive this.
  ForwardPass(const PackedModel& model, const Kernels& kernels, const VectorOps& ops,
              WorkerPool& pool, KvCache& cache, StateCache& states);
  ForwardPass(const ForwardPass&) = delete;  // the phases point into it
  ForwardPass& operator=(const ForwardPass&) = delete;

  // The batch was checked. Inference thread.
  void run(const Batch& batch, StepOutput& output);

  // Memory held for intermediate values. Between two steps.
  std::size_t buffer_bytes() const;

 private:
  void assemble();
  void reserve(int rows);
  void embed(int row);
  void hand_out(const Batch& batch, StepOutput& output) const;

  const PackedModel& model_;
  WorkerPool& pool_;
  KvCache& cache_;
  int reserved_rows_ = 0;
  StepPhases step_;
  AttentionStep attention_step_;
  AttentionLayers attention_;
  LatentAttentionLayers latent_attention_;
  FeedForwardLayers feed_forward_;
  ExpertLayers experts_;
  DeltaNetLayers delta_net_;
  ShortConvLayers short_conv_;
  Mamba2Layers mamba2_;
  LayerInputLayers layer_inputs_;
};

}  // namespace mlxd::cpu
