// Qwen3.5 to 3.8 (Qwen Team 2026), the text model: three of four layers are gated delta nets, the
// fourth is attention whose heads have a gate.
#include "model/architectures/qwen.h"
#include "model/config_limits.h"
#include "model/gguf_fields.h"

namespace mlxd {
namespace {

constexpr int kUsualInterval = 4;  // every fourth layer has attention

void attend_every(ModelConfig& config, std::int64_t interval) {
  for (int layer = 0; layer < config.layers; ++layer) {
    config.attention[layer].recurrent = (layer + 1) % interval != 0;
  }
}

// Where all layers have experts, files say nothing of a dense layer's size.
constexpr int kNoDenseLayer = 1;

void gguf_defaults(ModelConfig& config) {
  config.rope.theta = 10000000;
  config.experts.normalised = true;
  config.intermediate_size = kNoDenseLayer;
}

// llama.cpp, conversion/qwen.py, which puts the value heads of all but Qwen3-Next in turns of the
// key heads.
void gguf_finish(ModelConfig& config, const GgufFile& file) {
  const GgufFields fields(file, file.string("general.architecture").value_or(""));
  DeltaNetConfig& net = config.delta_net;
  net.key_heads = fields.integer("ssm.group_count", kMaxHeads);
  net.value_heads = fields.integer("ssm.time_step_rank", kMaxHeads);
  net.key_dim = fields.integer("ssm.state_size", kMaxHeadDim);
  net.value_dim = fields.integer("ssm.inner_size", kMaxHeads * kMaxHeadDim) / net.value_heads;
  net.kernel = fields.integer("ssm.conv_kernel", kMaxConvolution);
  net.tiled = config.architecture != "qwen3_next";
  attend_every(
      config,
      fields.optional_integer("full_attention_interval", 1, kMaxLayers).value_or(kUsualInterval));
}

// transformers, Qwen3_5TextConfig.
void json_defaults(ModelConfig& config) {
  config.norm_epsilon = 1e-6f;
  config.context_length = 32768;
  config.rope.theta = 10000000;
  config.experts.normalised = true;
  config.intermediate_size = kNoDenseLayer;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  DeltaNetConfig& net = config.delta_net;
  net.key_heads = fields.count("linear_num_key_heads", kMaxHeads, 16);
  net.value_heads = fields.count("linear_num_value_heads", kMaxHeads, 32);
  net.key_dim = fields.count("linear_key_head_dim", kMaxHeadDim, 128);
  net.value_dim = fields.count("linear_value_head_dim", kMaxHeadDim, 128);
  net.kernel = fields.count("linear_conv_kernel_dim", kMaxConvolution, 4);
  if (!fields.has("layer_types")) {
    attend_every(config,
                 fields.integer("full_attention_interval", 1, kMaxLayers).value_or(kUsualInterval));
  }
}

// Whether the norms lack the 1 that MLX's converter and GGUF's add: then the convolutions are as
// transformers has them, too, [channels, 1, kernel].
bool norms_lack_one(const ModelConfig& config, const WeightSource& weights) {
  for (int layer = 0; layer < config.layers; ++layer) {
    if (weights.find(PlanBuilder::layer_module(layer, "linear_attn.A"))) return false;  // GGUF
    const auto name = PlanBuilder::layer_module(layer, "linear_attn.conv1d.weight");
    if (const auto tensor = weights.find(name)) return tensor->columns != 1;
  }
  return false;
}

ModelPlan plan(const ModelConfig& stated, std::shared_ptr<const WeightSource> weights) {
  ModelConfig config = stated;
  if (norms_lack_one(config, *weights)) config.norm_weight_offset = 1;
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    if (config.attention[layer].recurrent) {
      builder.add(builder.delta_net(layer));
    } else {
      builder.add(qwen3_attention(builder, config, layer, PlanBuilder::Gate::behind_query));
    }
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"qwen3_5", "qwen3_5_text"};
constexpr GgufName kGgufNames[] = {{"attn_q_norm", "self_attn.q_norm"},
                                   {"attn_k_norm", "self_attn.k_norm"},
                                   {"post_attention_norm", "post_attention_layernorm"},
                                   {"attn_qkv", "linear_attn.in_proj_qkv"},
                                   {"attn_gate", "linear_attn.in_proj_z"},
                                   {"ssm_alpha", "linear_attn.in_proj_a"},
                                   {"ssm_beta", "linear_attn.in_proj_b"},
                                   {"ssm_in", "linear_attn.in_proj_qkvz"},
                                   {"ssm_ba", "linear_attn.in_proj_ba"},
                                   {"ssm_conv1d", "linear_attn.conv1d"},
                                   {"ssm_a", "linear_attn.A"},
                                   {"ssm_dt", "linear_attn.dt_proj"},
                                   {"ssm_norm", "linear_attn.norm"},
                                   {"ssm_out", "linear_attn.out_proj"}};

}  // namespace

Architecture qwen3_5_like(std::string_view name, std::span<const std::string_view> model_types,
                          std::string_view gguf_name) {
  return {
      .name = name,
      .model_types = model_types,
      .gguf_name = gguf_name,
      .gguf_names = kGgufNames,
      .partial_rope = true,
      .recurrent_type = "linear_attention",
      .experts = true,
      .gguf_defaults = gguf_defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

Architecture qwen3_5_architecture() { return qwen3_5_like("qwen3_5", kModelTypes, "qwen35"); }

}  // namespace mlxd
