// Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases on q, k and v.
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/qwen.h"
#include "model/config_limits.h"

namespace mlxd {

void qwen_json_defaults(ModelConfig& config) {
  config.norm_epsilon = 1e-6f;
  config.context_length = 32768;
}

void qwen_json_finish(ModelConfig& config, const JsonFields& fields) {
  const bool windows = fields.boolean("use_sliding_window").value_or(false);
  if (windows && fields.has("layer_types")) return;
  // transformers, Qwen2Config: the layers from max_window_layers on are windowed.
  const auto first = fields.integer("max_window_layers", 0, kMaxLayers).value_or(28);
  for (int layer = 0; layer < config.layers; ++layer) {
    config.attention[layer].window = windows && layer >= first ? config.sliding_window : 0;
  }
}

namespace {

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(builder.attention(layer, PlanBuilder::Bias::required));
    builder.add(builder.feed_forward(layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"qwen2"};

}  // namespace

// llama.cpp runs Qwen with full attention whatever window a GGUF file states.
Architecture qwen2_architecture() {
  return {
      .name = "qwen2",
      .model_types = kModelTypes,
      .gguf_name = "qwen2",
      .json_defaults = qwen_json_defaults,
      .json_finish = qwen_json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
