// Granite 3 with experts (IBM Granite Team 2024): Granite whose layers choose experts by the
// softmax over those chosen, in GGUF files beside a shared one too.
#include "model/architectures/architecture.h"
#include "model/architectures/granite.h"
#include "model/architectures/plan_builder.h"

namespace mlxd {
namespace {

void gguf_defaults(ModelConfig& config) {
  granite_gguf_defaults(config);
  config.experts.scoring = ExpertScoring::softmax_chosen;
}

void json_defaults(ModelConfig& config) {
  granite_json_defaults(config);
  config.experts.scoring = ExpertScoring::softmax_chosen;
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(builder.attention(layer));
    builder.add(builder.has(layer, "block_sparse_moe.router.layer.weight")
                    ? builder.experts(layer, "block_sparse_moe.router.layer",
                                      "block_sparse_moe.switch_mlp", "post_attention_layernorm")
                    : builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"granitemoe"};

}  // namespace

Architecture granitemoe_architecture() {
  return {
      .name = "granitemoe",
      .model_types = kModelTypes,
      .gguf_name = "granitemoe",
      .experts = true,
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .gguf_finish = granite_gguf_finish,
      .json_finish = granite_json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
