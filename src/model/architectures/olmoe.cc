// OLMoE (Muennighoff et al. 2024): Llama with a norm over all heads of q and of k as one vector,
// whose layers choose experts by the softmax over all of them.
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/qwen.h"

namespace mlxd {
namespace {

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(builder.attention_normed_over_rows(layer));
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"olmoe"};

}  // namespace

Architecture olmoe_architecture() {
  return {
      .name = "olmoe",
      .model_types = kModelTypes,
      .gguf_name = "olmoe",
      .gguf_names = kQwen3GgufNames,
      .experts = true,
      .plan = plan,
  };
}

}  // namespace mlxd
