// LFM2 (Liquid AI 2025): most layers are short convolutions between two gates, the others attention
// with a norm on every head of q and k; of the larger models feed-forward layers behind the first
// are experts.
#include "model/architectures/lfm2.h"

#include <cmath>

#include "model/architectures/qwen.h"
#include "model/architectures/renamed_weights.h"
#include "model/config_limits.h"
#include "model/gguf_fields.h"

namespace mlxd {
namespace {

void defaults(ModelConfig& config) {
  config.rope.theta = 1000000;
  config.experts.scoring = ExpertScoring::sigmoid;
  config.experts.normalised = true;
}

// llama.cpp, conversion/lfm2.py: layers without KV heads are convolutions.
void gguf_finish(ModelConfig& config, const GgufFile& file) {
  const GgufFields fields(file, file.string("general.architecture").value_or(""));
  config.short_convolution = fields.integer("shortconv.l_cache", kMaxConvolution);
}

// transformers, Lfm2Config and Lfm2MoeConfig.
void json_defaults(ModelConfig& config) {
  defaults(config);
  config.context_length = 128000;
  config.intermediate_size = 12288;
}

// The size that is stated is that of a hidden layer without a gate, which one with a gate and as
// many weights has two thirds of.
int adjusted(const JsonFields& fields, int stated) {
  const double multiplier = fields.number("block_ffn_dim_multiplier", 1e-3, 1e3).value_or(1);
  const int multiple = fields.count("block_multiple_of", kMaxIntermediateSize, 256);
  const double size = multiplier * std::floor(2.0 * stated / 3);
  if (size > kMaxIntermediateSize - multiple) {
    fields.fail("block_ffn_dim_multiplier", "makes hidden layers larger than mlxd computes");
  }
  return (static_cast<int>(size) + multiple - 1) / multiple * multiple;
}

void json_finish(ModelConfig& config, const JsonFields& fields) {
  config.norm_epsilon =
      static_cast<float>(fields.number("norm_eps", 0, 1).value_or(config.norm_epsilon));
  config.short_convolution = fields.count("conv_L_cache", kMaxConvolution, 3);
  if (config.experts.count == 0) {
    const int stated = fields.count("block_ff_dim", kMaxIntermediateSize, config.intermediate_size);
    const bool adjust = fields.boolean("block_auto_adjust_ff_dim").value_or(true);
    config.intermediate_size = adjust ? adjusted(fields, stated) : stated;
  }
  if (fields.has("layer_types")) return;
  const boost::json::array* attend = fields.array("full_attn_idxs");
  if (attend == nullptr) fields.fail("layer_types", "is missing");
  for (AttentionConfig& layer : config.attention) layer.recurrent = true;
  for (const boost::json::value& each : *attend) {
    const auto* index = each.if_int64();
    if (index == nullptr || *index < 0 || *index >= config.layers) {
      fields.fail_type("full_attn_idxs", each, "the number of a layer");
    }
    config.attention[static_cast<std::size_t>(*index)].recurrent = false;
  }
}

constexpr ModuleName kFolderNames[] = {{"operator_norm", "input_layernorm"},
                                       {"ffn_norm", "post_attention_layernorm"},
                                       {"self_attn.q_layernorm", "self_attn.q_norm"},
                                       {"self_attn.k_layernorm", "self_attn.k_norm"},
                                       {"self_attn.out_proj", "self_attn.o_proj"},
                                       {"feed_forward.w1", "mlp.gate_proj"},
                                       {"feed_forward.w2", "mlp.down_proj"},
                                       {"feed_forward.w3", "mlp.up_proj"},
                                       {"feed_forward.expert_bias", "mlp.e_score_correction_bias"},
                                       {"feed_forward", "mlp"},
                                       {"embedding_norm", "norm"}};

ModelPlan plan(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, renamed(std::move(weights), kFolderNames));
  for (int layer = 0; layer < config.layers; ++layer) {
    if (config.attention[static_cast<std::size_t>(layer)].recurrent) {
      builder.add(builder.short_convolution(layer));
    } else {
      builder.add(qwen3_attention(builder, config, layer));
    }
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

constexpr std::string_view kModelTypes[] = {"lfm2", "lfm2_vl", "lfm2-vl"};
constexpr GgufName kGgufNames[] = {
    {"token_embd_norm", "model.norm"},   {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"}, {"shortconv.in_proj", "conv.in_proj"},
    {"shortconv.conv", "conv.conv"},     {"shortconv.out_proj", "conv.out_proj"}};

}  // namespace

Architecture lfm2_like(std::string_view name, std::span<const std::string_view> model_types,
                       std::string_view gguf_name) {
  return {
      .name = name,
      .model_types = model_types,
      .gguf_name = gguf_name,
      .gguf_names = kGgufNames,
      .recurrent_type = "conv",
      .experts = true,
      .gguf_defaults = defaults,
      .json_defaults = json_defaults,
      .gguf_finish = gguf_finish,
      .json_finish = json_finish,
      .plan = plan,
  };
}

Architecture lfm2_architecture() { return lfm2_like("lfm2", kModelTypes, "lfm2"); }

}  // namespace mlxd
