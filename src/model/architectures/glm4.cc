// GLM-4 and Z1 of April 2025 (Z.ai): Llama with norms behind both blocks as well, gate and up as
// one matrix, biases on q, k and v, and half of each head turning, as neighbours.
#include <utility>

#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"

namespace mlxd {
namespace {

void gguf_defaults(ModelConfig& config) { config.rope.interleaved = true; }

// transformers, Glm4Config.
void json_defaults(ModelConfig& config) {
  config.norm_epsilon = 1.5625e-7f;
  config.head_dim = 128;
  config.context_length = 131072;
  config.rope.interleaved = true;
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  const int hidden = config.hidden_size;
  for (int layer = 0; layer < config.layers; ++layer) {
    AttentionBlock attention = builder.attention(layer);
    attention.post_norm = builder.norm(layer, "post_self_attn_layernorm", hidden);
    builder.add(std::move(attention));

    FeedForwardBlock feed_forward = builder.feed_forward_of_one(layer, "post_attention_layernorm");
    feed_forward.post_norm = builder.norm(layer, "post_mlp_layernorm", hidden);
    builder.add(std::move(feed_forward));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"glm4"};
constexpr GgufName kGgufNames[] = {{"post_attention_norm", "post_self_attn_layernorm"},
                                   {"ffn_norm", "post_attention_layernorm"},
                                   {"ffn_up", "mlp.gate_up_proj"},
                                   {"post_ffw_norm", "post_mlp_layernorm"}};

}  // namespace

Architecture glm4_architecture() {
  return {
      .name = "glm4",
      .model_types = kModelTypes,
      .gguf_name = "glm4",
      .gguf_names = kGgufNames,
      .partial_rope = true,
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .plan = plan,
  };
}

}  // namespace mlxd
