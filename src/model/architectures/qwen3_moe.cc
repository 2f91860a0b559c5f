// Qwen3 with experts (Yang et al. 2025): Qwen3 whose layers choose a few experts for each row by
// the softmax over all of them.
#include "model/architectures/architecture.h"
#include "model/architectures/qwen.h"

namespace mlxd {
namespace {

// llama.cpp makes the weights of those chosen sum to 1 whatever the file says.
void gguf_defaults(ModelConfig& config) { config.experts.normalised = true; }

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
      .plan = plan_qwen3_like,
  };
}

}  // namespace mlxd
