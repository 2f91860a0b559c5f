// Qwen3 with experts (Yang et al. 2025): Qwen3 whose layers choose a few experts for each row by
// the softmax over all of them.
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/qwen.h"

namespace mlxd {
namespace {

// llama.cpp makes the weights of those chosen sum to 1 whatever the file says.
void gguf_defaults(ModelConfig& config) { config.experts.normalised = true; }

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(qwen3_attention(builder, config, layer));
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"qwen3_moe"};

}  // namespace

Architecture qwen3_moe_architecture() {
  return {
      .name = "qwen3_moe",
      .model_types = kModelTypes,
      .gguf_name = "qwen3moe",
      .gguf_names = kQwen3GgufNames,
      .experts = true,
      .gguf_defaults = gguf_defaults,
      .json_defaults = qwen_json_defaults,
      .json_finish = qwen_json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
