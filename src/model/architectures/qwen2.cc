// Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases on q, k and v.
#include "model/architectures/architectures.h"
#include "model/architectures/plan_builder.h"
#include "model/config_limits.h"

namespace mlxd {

void qwen_gguf_finish(ModelConfig& config, const GgufFile&) {
  // llama.cpp runs Qwen with full attention whatever window the file states.
  config.sliding_window = 0;
}

void qwen_json_defaults(ModelConfig& config) {
  config.norm_epsilon = 1e-6f;
  config.context_length = 32768;
}

void qwen_json_finish(ModelConfig& config, const JsonFields& fields) {
  if (!fields.boolean("use_sliding_window").value_or(false)) {
    config.sliding_window = 0;
    return;
  }
  // transformers, Qwen2Config: the layers from max_window_layers on are windowed.
  const auto first = fields.integer("max_window_layers", 0, kMaxLayers).value_or(28);
  for (int layer = 0; layer < config.layers; ++layer) {
    config.windowed_layers.push_back(layer >= first);
  }
}

ModelPlan plan_qwen2(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(builder.attention(layer, PlanBuilder::Bias::required));
    builder.add(builder.feed_forward(layer, "post_attention_layernorm"));
  }
  return builder.finish();
}

}  // namespace mlxd
