// Qwen3 (Yang et al. 2025), dense: Llama with a norm on every head of q and k before the rotation.
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/qwen.h"

namespace mlxd {

AttentionBlock qwen3_attention(const PlanBuilder& builder, const ModelConfig& config, int layer,
                               PlanBuilder::Gate gate) {
  AttentionBlock attention =
      builder.attention(layer, PlanBuilder::Bias::where_present, "input_layernorm", gate);
  attention.query_norm = builder.norm(layer, "self_attn.q_norm", config.head_dim);
  attention.key_norm = builder.norm(layer, "self_attn.k_norm", config.head_dim);
  return attention;
}

ModelPlan plan_qwen3_like(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(qwen3_attention(builder, config, layer));
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

namespace {

constexpr std::string_view kModelTypes[] = {"qwen3"};

}  // namespace

Architecture qwen3_architecture() {
  return {
      .name = "qwen3",
      .model_types = kModelTypes,
      .gguf_name = "qwen3",
      .gguf_names = kQwen3GgufNames,
      .json_defaults = qwen_json_defaults,
      .json_finish = qwen_json_finish,
      .plan = plan_qwen3_like,
  };
}

}  // namespace mlxd
