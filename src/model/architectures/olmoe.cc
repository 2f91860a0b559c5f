// OLMoE (Muennighoff et al. 2024): Llama with a norm over all heads of q and of k as one vector,
// whose layers choose experts by the softmax over all of them.
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/qwen.h"

namespace mlxd {
namespace {

constexpr std::string_view kModelTypes[] = {"olmoe"};

}  // namespace

Architecture olmoe_architecture() {
  return {
      .name = "olmoe",
      .model_types = kModelTypes,
      .gguf_name = "olmoe",
      .gguf_names = kQwen3GgufNames,
      .experts = true,
      .plan = plan_normed_over_rows,
  };
}

}  // namespace mlxd
