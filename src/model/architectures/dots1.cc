// dots.llm1 (Huo et al. 2025): Qwen3's attention, and behind the first dense layers experts chosen
// by DeepSeek V3's sigmoid router beside a shared one.
#include "model/architectures/architecture.h"
#include "model/architectures/qwen.h"

namespace mlxd {
namespace {

void defaults(ModelConfig& config) {
  config.experts.scoring = ExpertScoring::sigmoid;
  config.experts.normalised = true;
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
      .plan = plan_qwen3_like,
  };
}

}  // namespace mlxd
