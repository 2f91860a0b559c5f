// ERNIE 4.5, dense (Baidu ERNIE Team 2025): Llama whose heads turn as neighbours.
#include "model/architectures/architecture.h"
#include "model/architectures/ernie.h"
#include "model/architectures/plan_builder.h"

namespace mlxd {
namespace {

constexpr std::string_view kModelTypes[] = {"ernie4_5"};

}  // namespace

Architecture ernie4_5_architecture() {
  return {
      .name = "ernie4_5",
      .model_types = kModelTypes,
      .gguf_name = "ernie4_5",
      .gguf_defaults = ernie_defaults,
      .json_defaults = ernie_defaults,
      .plan = plan_llama_like,
  };
}

}  // namespace mlxd
