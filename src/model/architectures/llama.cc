// Llama (Touvron et al. 2023), and what is built like it: SmolLM2, Mistral, Llama 3.x, Mixtral.
// Pre-norm attention with rotary positions, gated SiLU feed-forward; biases and a sliding window
// where the file has them, and in Mixtral experts, weighed by the softmax over those chosen.
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/windowed_layers.h"

namespace mlxd {
namespace {

void gguf_defaults(ModelConfig& config) {
  config.experts.normalised = true;
  config.rope.interleaved = true;  // llama.cpp's converter permutes q and k (LlamaModel.permute)
}

void gguf_finish(ModelConfig& config, const GgufFile&) { window_every_layer(config); }

void json_defaults(ModelConfig& config) {
  config.experts.normalised = true;
  config.norm_epsilon = 1e-6f;
  config.context_length = 2048;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  // Mistral's window holds for all layers; Llama's configuration has none unless it lists layers.
  const bool mistral = fields.string("model_type").value_or("") == "mistral";
  if (mistral && !fields.has("layer_types")) window_every_layer(config);
}

constexpr std::string_view kModelTypes[] = {"llama", "mistral", "mixtral"};

}  // namespace

Architecture llama_architecture() {
  return {
      .name = "llama",
      .model_types = kModelTypes,
      .gguf_name = "llama",
      .experts = true,
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan_llama_like,
  };
}

}  // namespace mlxd
