#pragma once

#include <cstddef>
#include <optional>

#include "backend/mlx/layers.h"

namespace mlxd::mlx_backend {

// A matrix of each head.
class HeadsLinearLayer {
 public:
  // The linear's rows are the heads', one after another.
  HeadsLinearLayer(const Linear& linear, int heads, WeightLoader& loader);
  mx::array apply(const mx::array& x) const;  // [T, heads, in] -> [T, heads, out]

 private:
  Matrix matrix_;
};

// Latent attention (model_plan.h), prompts as well as single rows by the latents themselves.
class LatentAttentionLayer {
 public:
  LatentAttentionLayer(const LatentAttentionBlock& block, WeightLoader& loader);
  // x [T, D] float32 -> x + attention's output; `type`: of what matrices read.
  mx::array apply(const mx::array& x, mx::Dtype type, PagedCache& cache, StepLayout& layout) const;

  // Of the scores that exist at a time, more or less.
  static std::size_t score_bytes(mx::Dtype type);

 private:
  mx::array queries(const mx::array& h, mx::Dtype type, StepLayout& layout) const;
  mx::array attend(const mx::array& queries, const PagedCache& cache,
                   const StepLayout& layout) const;

  LatentAttentionBlock block_;
  std::optional<NormLayer> input_norm_;
  std::optional<LinearLayer> query_down_;
  std::optional<NormLayer> query_norm_;
  LinearLayer query_, latent_;
  NormLayer latent_norm_;
  HeadsLinearLayer key_up_, value_up_;
  RopeLayer rope_;
  LinearLayer output_;
};

}  // namespace mlxd::mlx_backend
