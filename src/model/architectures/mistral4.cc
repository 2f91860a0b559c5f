// Mistral Small 4 (Mistral AI 2026): DeepSeek's latent attention, whose queries grow with the
// logarithm of their position, and experts chosen by a softmax over all. Folders wrap it as the
// text model of a multimodal one.
#include "model/architectures/architecture.h"
#include "model/architectures/latent_attention.h"

namespace mlxd {
namespace {

void gguf_finish(ModelConfig& config, const GgufFile& file) {
  finish_latent(config, GgufFields(file, "mistral4"), file);
}

// A head's size is there for what reads all families' alike; finish_latent knows better.
void json_defaults(ModelConfig& config) {
  config.head_dim = 64;
  config.context_length = 131072;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  finish_latent(config, fields, 1e-6f);
  const auto rope = fields.object("rope_parameters");
  const double beta = rope ? rope->number("llama_4_scaling_beta", 0, 1e3).value_or(0) : 0;
  const int length = config.rope.scaling.original_context_length;
  if (beta == 0 || length == 0) return;
  for (AttentionConfig& layer : config.attention) {
    layer.temperature = PositionTemperature{static_cast<float>(beta), length};
  }
}

constexpr std::string_view kModelTypes[] = {"mistral4"};

}  // namespace

Architecture mistral4_architecture() {
  return {
      .name = "mistral4",
      .model_types = kModelTypes,
      .text_types = kModelTypes,
      .gguf_name = "mistral4",
      .gguf_names = kLatentGgufNames,
      .experts = true,
      .latent = true,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan_latent,
  };
}

}  // namespace mlxd
