// dots.llm1 (Huo et al. 2025): Qwen3's attention, and behind the first dense layers experts chosen
// by DeepSeek V3's sigmoid router beside a shared one.
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/qwen.h"

namespace mlxd {
namespace {

void defaults(ModelConfig& config) {
  config.experts.scoring = ExpertScoring::sigmoid;
  config.experts.normalised = true;
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(qwen3_attention(builder, config, layer));
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"dots1"};

}  // namespace

Architecture dots1_architecture() {
  return {
      .name = "dots1",
      .model_types = kModelTypes,
      .gguf_name = "dots1",
      .gguf_names = kQwen3GgufNames,
      .experts = true,
      .gguf_defaults = defaults,
      .json_defaults = defaults,
      .plan = plan,
  };
}

}  // namespace mlxd
