#include "model/architectures/latent_attention.h"

#include <cmath>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "model/config_limits.h"
#include "model/quoted.h"
#include "model/rope.h"

namespace mlxd {
namespace {

// The formulas have none, and a part of one would be lost.
void refuse_bias(PlanBuilder& builder, const std::string& module, const Linear& linear) {
  if (!linear.bias.empty())
    builder.fail(module + ".bias", "is there, but these matrices have none");
}

// kv_b_proj [H (plain_dim + value_dim), rank] as it is: its rows of values, and of each head those
// of keys transposed, as numbers.
void split_joined(PlanBuilder& builder, int layer, LatentAttentionBlock& block) {
  const int stride = block.plain_dim + block.value_dim;
  const std::string module = PlanBuilder::layer_module(layer, "self_attn.kv_b_proj");
  Linear joined = builder.linear(module, std::int64_t{block.heads} * stride, block.rank);
  refuse_bias(builder, module, joined);
  const auto columns = static_cast<std::size_t>(block.rank);
  const auto size = static_cast<std::size_t>(block.plain_dim);
  std::vector<float> keys(static_cast<std::size_t>(block.heads) * columns * size);
  std::vector<float> rows(size * columns);  // of a head
  for (int head = 0; head < block.heads; ++head) {
    dequantize_rows(joined.weight, std::int64_t{head} * stride, block.plain_dim, rows);
    float* const to = keys.data() + static_cast<std::size_t>(head) * columns * size;
    for (std::size_t i = 0; i < size; ++i) {
      for (std::size_t c = 0; c < columns; ++c) to[c * size + i] = rows[i * columns + c];
    }
  }
  block.key_up.weight = builder.made(module + ".keys", std::move(keys), block.plain_dim);
  block.value_up = std::move(joined);
  block.value_up.rows = {.first = block.plain_dim, .count = block.value_dim, .stride = stride};
}

void read_sizes(const JsonFields& fields, LatentConfig& latent) {
  latent.rank = fields.count("kv_lora_rank", kMaxHeadDim);
  latent.query_rank =
      static_cast<int>(fields.integer("q_lora_rank", 0, kMaxHiddenSize).value_or(0));
  latent.plain_dim = fields.count("qk_nope_head_dim", kMaxHeadDim);
  latent.rotary_dim = fields.count("qk_rope_head_dim", kMaxHeadDim);
  if (latent.rotary_dim % 2 != 0) {
    fields.fail("qk_rope_head_dim",
                fmt::format("is {}, and rotary embeddings turn pairs", latent.rotary_dim));
  }
  latent.value_dim = fields.count("v_head_dim", kMaxHeadDim);
}

// The cache is described as that of keys and values of one head, the true sizes beside that
// (llama.cpp, conversion/deepseek.py).
void read_sizes(const GgufFields& fields, const GgufFile& file, LatentConfig& latent) {
  latent.rank = fields.integer("attention.kv_lora_rank", kMaxHeadDim);
  latent.query_rank =
      fields.optional_integer("attention.q_lora_rank", 0, kMaxHiddenSize).value_or(0);
  latent.rotary_dim = fields.integer("rope.dimension_count", kMaxHeadDim);
  if (latent.rotary_dim % 2 != 0) {
    file.fail(in_quotes(fields.key("rope.dimension_count")),
              fmt::format("is {}, and rotary embeddings turn pairs", latent.rotary_dim));
  }
  // Older files have the sizes of heads alone, under the usual names.
  const bool own = file.has(fields.key("attention.key_length_mla"));
  const char* const key = own ? "attention.key_length_mla" : "attention.key_length";
  const int size = fields.integer(key, kMaxHeadDim);
  if (size <= latent.rotary_dim) {
    file.fail(in_quotes(fields.key(key)),
              fmt::format("is {}, of which {} turn; mlxd needs some that do not", size,
                          latent.rotary_dim));
  }
  latent.plain_dim = size - latent.rotary_dim;
  latent.value_dim =
      fields.integer(own ? "attention.value_length_mla" : "attention.value_length", kMaxHeadDim);
}

// `weight`: mscale_all_dim, 0 where there is none.
void describe(ModelConfig& config, double weight) {
  const LatentConfig& latent = config.latent;
  config.kv_heads = 1;
  config.head_dim = latent.rank + latent.rotary_dim;
  config.rope.dimensions = latent.rotary_dim;
  config.rope.interleaved = true;
  describe_layers(config);
  const RopeScaling& scaling = config.rope.scaling;
  const bool yarn = scaling.kind == RopeScaling::Kind::yarn && scaling.factor > 1;
  const double magnitude = yarn ? 0.1 * weight * std::log(scaling.factor) + 1 : 1;
  const double root = std::sqrt(static_cast<double>(latent.plain_dim + latent.rotary_dim));
  for (AttentionConfig& layer : config.attention) {
    layer.scale = static_cast<float>(magnitude * magnitude / root);
  }
}

}  // namespace

void finish_latent(ModelConfig& config, const JsonFields& fields, float epsilon) {
  read_sizes(fields, config.latent);
  if (!fields.boolean("rope_interleave").value_or(true)) {
    fields.fail("rope_interleave", "is false; mlxd turns neighbours alone");
  }
  config.latent.norm_epsilon = epsilon;
  auto rope = fields.object("rope_parameters");
  if (!rope) rope = fields.object("rope_scaling");
  describe(config, rope ? rope->number("mscale_all_dim", 0, 1e3).value_or(0) : 0);
}

void finish_latent(ModelConfig& config, const GgufFields& fields, const GgufFile& file) {
  read_sizes(fields, file, config.latent);
  config.latent.norm_epsilon = config.norm_epsilon;
  // A tenth of mscale_all_dim in files of these architectures; mscale is the same.
  const double weight = 10 * fields.number("rope.scaling.yarn_log_multiplier", 0, 1e3, 0);
  RopeScaling& scaling = config.rope.scaling;
  if (weight != 0 && scaling.kind == RopeScaling::Kind::yarn) scaling.attention_factor = 1;
  describe(config, weight);
  const float beta = fields.number("attention.temperature_scale", 0, 1e3, 0);
  if (beta == 0) return;
  const int length = fields.integer("attention.temperature_length", kMaxContextLength);
  for (AttentionConfig& layer : config.attention) {
    layer.temperature = PositionTemperature{beta, length};
  }
}

LatentAttentionBlock latent_attention(PlanBuilder& builder, const ModelConfig& config, int layer) {
  const LatentConfig& latent = config.latent;
  const AttentionConfig& described = config.attention[static_cast<std::size_t>(layer)];
  const int hidden = config.hidden_size;
  LatentAttentionBlock block;
  block.heads = config.heads;
  block.rank = latent.rank;
  block.plain_dim = latent.plain_dim;
  block.rotary_dim = latent.rotary_dim;
  block.value_dim = latent.value_dim;
  block.scale = described.scale;
  block.temperature = described.temperature;
  block.rope = make_rope(*described.rope);
  block.residual_scale = config.residual_scale;
  block.input_norm = builder.norm(layer, "input_layernorm", hidden);
  const std::int64_t query_rows = std::int64_t{block.heads} * block.query_dim();
  if (latent.query_rank > 0) {
    block.query_down = builder.linear(layer, "self_attn.q_a_proj", latent.query_rank, hidden);
    block.query_norm = builder.norm(layer, "self_attn.q_a_layernorm", latent.query_rank);
    block.query_norm->epsilon = latent.norm_epsilon;
    block.query = builder.linear(layer, "self_attn.q_b_proj", query_rows, latent.query_rank);
  } else {
    block.query = builder.linear(layer, "self_attn.q_proj", query_rows, hidden);
  }
  block.latent = builder.linear(layer, "self_attn.kv_a_proj_with_mqa", block.key_dim(), hidden);
  block.latent_norm = builder.norm(layer, "self_attn.kv_a_layernorm", block.rank);
  block.latent_norm.epsilon = latent.norm_epsilon;
  if (builder.has(layer, "self_attn.kv_b_proj.weight")) {
    split_joined(builder, layer, block);
  } else {
    block.key_up = builder.linear(layer, "self_attn.embed_q",
                                  std::int64_t{block.heads} * block.rank, block.plain_dim);
    block.value_up = builder.linear(layer, "self_attn.unembed_out",
                                    std::int64_t{block.heads} * block.value_dim, block.rank);
    refuse_bias(builder, PlanBuilder::layer_module(layer, "self_attn.embed_q"), block.key_up);
    refuse_bias(builder, PlanBuilder::layer_module(layer, "self_attn.unembed_out"), block.value_up);
  }
  block.output = builder.linear(layer, "self_attn.o_proj", hidden, block.heads * block.value_dim);
  return block;
}

ModelPlan plan_latent(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(latent_attention(builder, config, layer));
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

}  // namespace mlxd
