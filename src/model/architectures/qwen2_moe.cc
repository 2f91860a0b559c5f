// Qwen1.5-MoE and Qwen2 57B-A14B (Yang et al. 2024): Qwen2's attention, and experts chosen by the
// softmax over all of them beside a shared one, whose output a gate weighs.
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/qwen.h"

namespace mlxd {
namespace {

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(builder.attention(layer, PlanBuilder::Bias::required));
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"qwen2_moe"};

}  // namespace

// The weights of those chosen are not made to sum to 1 where the file does not say so.
Architecture qwen2_moe_architecture() {
  return {
      .name = "qwen2_moe",
      .model_types = kModelTypes,
      .gguf_name = "qwen2moe",
      .experts = true,
      .json_defaults = qwen_json_defaults,
      .json_finish = qwen_json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
