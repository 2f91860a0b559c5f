// gpt-oss (OpenAI 2025): experts in every layer, clamped SwiGLU, biases everywhere, sinks beside
// the scores of attention, which sees a window in every other layer.
#include <fmt/format.h>

#include "model/architectures/architecture.h"
#include "model/architectures/plan_builder.h"
#include "model/architectures/windowed_layers.h"
#include "model/config_limits.h"
#include "model/gguf_fields.h"

namespace mlxd {
namespace {

constexpr int kPattern = 2;   // every other layer sees all
constexpr double kLimit = 7;  // of Activation::clamped_swiglu

void defaults(ModelConfig& config) {
  config.rope.theta = 150000;
  config.experts.scoring = ExpertScoring::softmax_chosen;
}

void gguf_finish(ModelConfig& config, const GgufFile& file) {
  const GgufFields fields(file, "gpt-oss");
  config.sliding_window = fields.integer("attention.sliding_window", kMaxContextLength);
  window_by_gguf(config, file, kPattern);
  // As it was trained (config.json's "truncate": false), of which metadata says nothing; llama.cpp
  // rounds.
  for (AttentionConfig& layer : config.attention) layer.rope->scaling.whole_bounds = false;
}

// transformers, GptOssConfig.
void json_defaults(ModelConfig& config) {
  defaults(config);
  config.head_dim = 64;
  config.sliding_window = 128;
  config.context_length = 131072;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  if (!fields.has("layer_types")) window_by_pattern(config, kPattern);
  const double limit = fields.number("swiglu_limit", 0, 1e6).value_or(kLimit);
  if (limit != kLimit) {
    fields.fail("swiglu_limit", fmt::format("is {}; mlxd clamps at {} alone", limit, kLimit));
  }
}

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  const char* sinks =
      builder.has(0, "self_attn.sinks.weight") ? "self_attn.sinks.weight" : "self_attn.sinks";
  for (int layer = 0; layer < config.layers; ++layer) {
    AttentionBlock attention = builder.attention(layer, PlanBuilder::Bias::required);
    attention.sinks = builder.vector(PlanBuilder::layer_module(layer, sinks), config.heads);
    builder.add(std::move(attention));
    ExpertsBlock experts =
        builder.experts(layer, "mlp.router", "mlp.experts", "post_attention_layernorm",
                        PlanBuilder::GateAndUp::turns);
    experts.activation = Activation::clamped_swiglu;
    builder.add(Block(std::move(experts)));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"gpt_oss"};
constexpr GgufName kGgufNames[] = {{"post_attention_norm", "post_attention_layernorm"},
                                   {"attn_sinks", "self_attn.sinks"},
                                   {"ffn_gate_inp", "mlp.router"},
                                   {"ffn_gate_exps", "mlp.experts.gate_proj"},
                                   {"ffn_up_exps", "mlp.experts.up_proj"},
                                   {"ffn_down_exps", "mlp.experts.down_proj"}};

}  // namespace

Architecture gpt_oss_architecture() {
  return {
      .name = "gpt_oss",
      .model_types = kModelTypes,
      .gguf_name = "gpt-oss",
      .gguf_names = kGgufNames,
      .experts = true,
      .gguf_defaults = defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

}  // namespace mlxd
