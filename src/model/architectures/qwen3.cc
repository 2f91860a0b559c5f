// Qwen3 (Yang et al. 2025), dense: Llama with a norm on every head of q and k before the rotation.
// Its configuration is read as Qwen2's.
#include "model/architectures/architectures.h"
#include "model/architectures/plan_builder.h"

namespace mlxd {

ModelPlan plan_qwen3(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    AttentionBlock attention = builder.attention(layer);
    attention.query_norm =
        builder.norm(PlanBuilder::layer_module(layer, "self_attn.q_norm"), config.head_dim);
    attention.key_norm =
        builder.norm(PlanBuilder::layer_module(layer, "self_attn.k_norm"), config.head_dim);
    builder.add(std::move(attention));
    builder.add(builder.feed_forward(layer, "post_attention_layernorm"));
  }
  return builder.finish();
}

}  // namespace mlxd
