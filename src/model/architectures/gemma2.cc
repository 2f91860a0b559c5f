// Gemma 2 (Gemma Team 2024): norms before and after both blocks, every other layer sees a window,
// scores and logits are capped, GELU, scaled embeddings.
#include "model/architectures/architecture.h"
#include "model/architectures/gemma.h"
#include "model/architectures/windowed_layers.h"

namespace mlxd {
namespace {

constexpr std::int64_t kPattern = 2;  // every second layer sees all

void usual_caps(ModelConfig& config) {
  config.attention_softcap = 50;
  config.logit_softcap = 30;
}

void gguf_finish(ModelConfig& config, const GgufFile& file) {
  window_by_gguf(config, file, kPattern);
  constexpr int kLayersOf27B = 46;
  scale_as_gguf(config, kLayersOf27B);
}

// transformers, Gemma2Config.
void json_defaults(ModelConfig& config) {
  config.norm_epsilon = 1e-6f;
  config.norm_weight_offset = 1;  // GGUF's converter has added it already
  config.heads = 8;
  config.kv_heads = 4;
  config.head_dim = 256;
  config.context_length = 8192;
  config.sliding_window = 4096;
  usual_caps(config);
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  scale_as_json(config, fields);
  if (!fields.has("layer_types")) window_by_pattern(config, kPattern);
}

constexpr std::string_view kModelTypes[] = {"gemma2"};

}  // namespace

Architecture gemma2_architecture() {
  return {
      .name = "gemma2",
      .model_types = kModelTypes,
      .gguf_name = "gemma2",
      .gguf_names = kGemmaGgufNames,
      .activation_key = "hidden_activation",
      .activations = kGemmaActivations,
      .gguf_defaults = usual_caps,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan_gemma,
  };
}

}  // namespace mlxd
