// Llama (Touvron et al. 2023), and what is built like it: SmolLM2, Mistral, Llama 3.x. Pre-norm
// attention with rotary positions, gated SiLU feed-forward; biases and a sliding window where the
// file has them.
#include "model/architectures/architectures.h"
#include "model/architectures/plan_builder.h"

namespace mlxd {
namespace {

void window_every_layer(ModelConfig& config) {
  if (config.sliding_window > 0) {
    config.windowed_layers.assign(static_cast<std::size_t>(config.layers), true);
  }
}

}  // namespace

void llama_gguf_finish(ModelConfig& config, const GgufFile&) {
  // The converter permutes q and k of this architecture alone (llama.cpp, LlamaModel.permute).
  config.rope_interleaved = true;
  window_every_layer(config);
}

void llama_json_defaults(ModelConfig& config) {
  config.norm_epsilon = 1e-6f;
  config.context_length = 2048;
}

void llama_json_finish(ModelConfig& config, const JsonFields& fields) {
  // Mistral's window holds for all layers; Llama's configuration has none unless it lists layers.
  if (fields.string("model_type").value_or("") == "mistral") window_every_layer(config);
}

ModelPlan plan_llama(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(builder.attention(layer));
    builder.add(builder.feed_forward(layer, "post_attention_layernorm"));
  }
  return builder.finish();
}

}  // namespace mlxd
