// ERNIE 4.5 with experts (Baidu ERNIE Team 2025): behind dense layers experts chosen by the softmax
// over all, in GGUF files with a bias on the choice, beside shared ones.
#include <fmt/format.h>

#include "model/architectures/architecture.h"
#include "model/architectures/ernie.h"
#include "model/architectures/plan_builder.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

void defaults(ModelConfig& config) {
  ernie_defaults(config);
  config.experts.normalised = true;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  const std::string function = fields.string("moe_gate_act").value_or("softmax");
  if (function == "sigmoid") {
    config.experts.scoring = ExpertScoring::sigmoid;
  } else if (function != "softmax") {
    fields.fail("moe_gate_act",
                fmt::format("is {}; mlxd computes softmax and sigmoid", in_quotes(function)));
  }
}

constexpr std::string_view kModelTypes[] = {"ernie4_5_moe"};

}  // namespace

Architecture ernie4_5_moe_architecture() {
  return {
      .name = "ernie4_5_moe",
      .model_types = kModelTypes,
      .gguf_name = "ernie4_5-moe",
      .experts = true,
      .gguf_defaults = defaults,
      .json_defaults = defaults,
      .json_finish = json_finish,
      .plan = plan_llama_like,
  };
}

}  // namespace mlxd
