#pragma once

#include <memory>
#include <optional>
#include <span>

#include "backend/mlx/attention.h"
#include "backend/mlx/matrix.h"

namespace mlxd::mlx_backend {

// The operations of model_plan.h with their weights on the device. Shapes are those of the plan; T
// rows of a step. The residual stream is float32 whatever the matrices are: halves overflow in some
// models, and the sum over layers is where their rounding would gather.

class NormLayer {
 public:
  explicit NormLayer(const RmsNorm& norm);
  mx::array apply(const mx::array& x) const;  // over the last dimension
  int size() const { return weight_.shape(0); }

 private:
  mx::array weight_;  // float32, as the residual stream that it scales
  float epsilon_;
};

std::optional<NormLayer> optional_norm(const std::optional<RmsNorm>& norm);

// stream_scale * (x + scale * norm(update)), in float32.
mx::array add_residual(const mx::array& x, const mx::array& update,
                       const std::optional<NormLayer>& norm, float scale, float stream_scale = 1);

class LinearLayer {
 public:
  LinearLayer(const Linear& linear, WeightLoader& loader);
  mx::array apply(const mx::array& x) const;  // [T, in] -> [T, out]

 private:
  Matrix matrix_;
  std::optional<mx::array> bias_;
};

// A matrix of each expert.
class ExpertLinearLayer {
 public:
  // linear.weight [experts * out, in]
  ExpertLinearLayer(const Linear& linear, int experts, WeightLoader& loader);
  // x [T, 1 or chosen, in], `chosen` [T, chosen]: each row's experts -> [T, chosen, out]
  mx::array apply(const mx::array& x, const mx::array& chosen) const;
  bool copied() const { return copied_; }  // its rows, out of the loader's matrix

 private:
  void copy_rows();

  Matrix matrix_;
  int experts_;
  bool copied_ = false;
  std::optional<mx::array> bias_;  // [experts, out]
};

class RopeLayer {
 public:
  explicit RopeLayer(const Rope& rope);
  mx::array apply(const mx::array& x, const mx::array& positions) const;  // [T, heads, d], [T]

 private:
  int dimensions_;
  bool interleaved_;
  float magnitude_;
  mx::array wavelengths_;  // [dimensions / 2]: what MLX calls freqs, the inverse of frequencies
};

class AttentionLayer {
 public:
  AttentionLayer(const AttentionBlock& block, WeightLoader& loader);
  // x [T, D] float32 -> x + attention's output; `type`: of what matrices read.
  mx::array apply(const mx::array& x, mx::Dtype type, PagedCache& cache, StepLayout& layout) const;

 private:
  mx::array heads(const mx::array& y, const std::optional<NormLayer>& norm, int count) const;

  AttentionBlock block_;
  std::optional<NormLayer> input_norm_;
  LinearLayer query_, output_;
  // Of a block with a cache of its own; no value: what the key's product gives.
  std::optional<LinearLayer> key_, value_;
  std::optional<NormLayer> query_norm_, key_norm_, value_norm_, post_norm_;
  std::optional<RopeLayer> rope_;
  std::optional<mx::array> sinks_;  // [heads]
};

// down(activation(gate(h), up(h))), with or without a gate, of a feed-forward block or a shared
// expert.
class GatedLayer {
 public:
  GatedLayer(const auto& block, Activation activation, WeightLoader& loader)
      : activation_(activation), up_(block.up, loader), down_(block.down, loader) {
    if (block.gate) gate_.emplace(*block.gate, loader);
  }
  mx::array apply(const mx::array& h) const;

 private:
  Activation activation_;
  std::optional<LinearLayer> gate_;
  LinearLayer up_, down_;
};

class FeedForwardLayer {
 public:
  FeedForwardLayer(const FeedForwardBlock& block, WeightLoader& loader);
  mx::array apply(const mx::array& x, mx::Dtype type) const;

 private:
  float residual_scale_, stream_scale_;
  std::optional<NormLayer> input_norm_;
  GatedLayer gated_;
  std::optional<NormLayer> post_norm_;
};

class ExpertsLayer {
 public:
  ExpertsLayer(const ExpertsBlock& block, WeightLoader& loader);
  mx::array apply(const mx::array& x, mx::Dtype type) const;

 private:
  struct Shared {
    std::optional<NormLayer> input_norm;
    GatedLayer gated;
    std::optional<LinearLayer> weight;
    std::optional<NormLayer> output_norm;
  };
  struct Choice {
    mx::array experts, weights;  // [T, chosen], [T, chosen, 1] float32
  };

  Choice choose(const mx::array& h) const;

  ExpertChoice choice_;
  Activation activation_;
  float residual_scale_, stream_scale_;
  std::optional<NormLayer> input_norm_, router_norm_;
  LinearLayer router_;
  std::optional<mx::array> choice_bias_, expert_scales_;  // [E]
  std::optional<ExpertLinearLayer> gate_;
  ExpertLinearLayer up_, down_;
  std::optional<NormLayer> experts_norm_;
  std::optional<Shared> shared_;
  std::optional<NormLayer> post_norm_;
};

// What the layers learn of each row's token (LayerInputs).
class LayerInputsLayer {
 public:
  LayerInputsLayer(const LayerInputs& inputs, std::shared_ptr<const WeightSource> file,
                   WeightLoader& loader);
  // x [T, D] float32, the embedded `tokens` -> [T, layers, P] float32
  mx::array apply(const mx::array& x, std::span<const int> tokens, mx::Dtype type) const;

 private:
  int layers_, size_;
  Tensor table_;  // read where it lies in the file
  std::shared_ptr<const WeightSource> file_;
  LinearLayer projection_;
  NormLayer norm_;
  float table_scale_, projection_scale_, scale_;
};

class LayerInputLayer {
 public:
  LayerInputLayer(const LayerInputBlock& block, WeightLoader& loader);
  // `inputs` as LayerInputsLayer makes them.
  mx::array apply(const mx::array& x, const mx::array& inputs, mx::Dtype type) const;

 private:
  int index_;
  float stream_scale_;
  LinearLayer gate_, output_;
  std::optional<NormLayer> post_norm_;
};

}  // namespace mlxd::mlx_backend
