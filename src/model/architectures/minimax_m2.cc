// MiniMax M2 (MiniMax 2025): a part of each head turns, a norm over all heads of q and of k as one
// vector, and in every layer experts chosen by a sigmoid router with a bias.
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/qwen.h"
#include "model/config_limits.h"

namespace mlxd {
namespace {

void defaults(ModelConfig& config) {
  config.experts.scoring = ExpertScoring::sigmoid;
  config.experts.normalised = true;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  const auto turned = fields.integer("rotary_dim", 2, kMaxHeadDim);
  for (AttentionConfig& layer : config.attention) {
    if (turned) layer.rope->dimensions = static_cast<int>(*turned);
  }
}

constexpr std::string_view kModelTypes[] = {"minimax_m2", "minimax"};

}  // namespace

Architecture minimax_m2_architecture() {
  return {
      .name = "minimax_m2",
      .model_types = kModelTypes,
      .gguf_name = "minimax-m2",
      .gguf_names = kQwen3GgufNames,
      .partial_rope = true,
      .experts = true,
      .gguf_defaults = defaults,
      .json_defaults = defaults,
      .json_finish = json_finish,
      .plan = plan_normed_over_rows,
  };
}

}  // namespace mlxd
