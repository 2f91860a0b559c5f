// GLM-4.5 to 4.7 (Zeng et al. 2025): half of each head turns, norms on q and k where the file has
// them, and behind the first dense layers experts chosen by DeepSeek V3's sigmoid router beside a
// shared one.
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/qwen.h"

namespace mlxd {
namespace {

void gguf_defaults(ModelConfig& config) {
  config.experts.scoring = ExpertScoring::sigmoid;
  config.experts.normalised = true;
}

// transformers, Glm4MoeConfig.
void json_defaults(ModelConfig& config) {
  config.context_length = 131072;
  config.experts.scoring = ExpertScoring::sigmoid;
  config.experts.normalised = true;
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(builder.has(layer, "self_attn.q_norm.weight")
                    ? qwen3_attention(builder, config, layer)
                    : builder.attention(layer));
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"glm4_moe"};
constexpr GgufName kGgufNames[] = {{"attn_q_norm", "self_attn.q_norm"},
                                   {"attn_k_norm", "self_attn.k_norm"},
                                   {"post_attention_norm", "post_attention_layernorm"}};

}  // namespace

Architecture glm4_moe_architecture() {
  return {
      .name = "glm4_moe",
      .model_types = kModelTypes,
      .gguf_name = "glm4moe",
      .gguf_names = kGgufNames,
      .partial_rope = true,
      .experts = true,
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .plan = plan,
  };
}

}  // namespace mlxd
