// Seed-OSS (ByteDance Seed 2025): Llama with biases on q, k and v and a head size of its own.
#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"

namespace mlxd {
namespace {

constexpr std::string_view kModelTypes[] = {"seed_oss"};
constexpr GgufName kGgufNames[] = {{"post_attention_norm", "post_attention_layernorm"}};

}  // namespace

Architecture seed_oss_architecture() {
  return {
      .name = "seed_oss",
      .model_types = kModelTypes,
      .gguf_name = "seed_oss",
      .gguf_names = kGgufNames,
      .plan = plan_llama_like,
  };
}

}  // namespace mlxd
