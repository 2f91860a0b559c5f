#include "model/architectures/plan_builder.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "model/quoted.h"
#include "model/rope.h"

namespace mlxd {

PlanBuilder::PlanBuilder(const ModelConfig& config, std::shared_ptr<const WeightSource> weights)
    : config_(config), weights_(std::move(weights)) {
  global_rope_ = make_rope(config.head_dim, config.rope_theta, config.rope_scaling,
                           config.rope_frequency_factors);
  global_rope_.interleaved = config.rope_interleaved;
  local_rope_ = make_rope(config.head_dim, config.rope_local_theta, RopeScaling{}, {});
  local_rope_.interleaved = config.rope_interleaved;
}

std::string PlanBuilder::layer_module(int layer, std::string_view part) {
  return fmt::format("model.layers.{}.{}", layer, part);
}

void PlanBuilder::fail(const std::string& name, std::string_view problem) const {
  throw LoadError(
      fmt::format("{}: tensor {} {}", weights_->description(), in_quotes(name), problem));
}

Tensor PlanBuilder::require(const std::string& name) const {
  auto tensor = weights_->find(name);
  if (!tensor) fail(name, "is missing");
  return *std::move(tensor);
}

Tensor PlanBuilder::matrix(const std::string& name, std::int64_t rows, std::int64_t columns) const {
  Tensor tensor = require(name);
  if (tensor.rows != rows || tensor.columns != columns) {
    fail(name, fmt::format("has shape [{}, {}], expected [{}, {}]", tensor.rows, tensor.columns,
                           rows, columns));
  }
  return tensor;
}

std::vector<float> PlanBuilder::vector(const std::string& name, int size) const {
  const Tensor tensor = require(name);
  if (tensor.rows != 1 || tensor.columns != size) {
    fail(name, fmt::format("has shape [{}, {}], expected [{}]", tensor.rows, tensor.columns, size));
  }
  return dequantize(tensor);
}

RmsNorm PlanBuilder::norm(const std::string& module, int size) const {
  RmsNorm norm{vector(module + ".weight", size), config_.norm_epsilon};
  for (float& weight : norm.weight) weight += config_.norm_weight_offset;
  return norm;
}

Linear PlanBuilder::linear(const std::string& module, int out, int in, Bias bias) const {
  Linear linear{matrix(module + ".weight", out, in), {}};
  const std::string bias_name = module + ".bias";
  if (bias == Bias::required || weights_->find(bias_name)) linear.bias = vector(bias_name, out);
  return linear;
}

AttentionBlock PlanBuilder::attention(int layer, Bias qkv_bias) const {
  const auto module = [layer](std::string_view part) { return layer_module(layer, part); };
  const int hidden = config_.hidden_size;
  const int query_size = config_.heads * config_.head_dim;
  const int kv_size = config_.kv_heads * config_.head_dim;
  const bool windowed =
      !config_.windowed_layers.empty() && config_.windowed_layers[static_cast<std::size_t>(layer)];

  AttentionBlock block;
  block.layer = layer;
  block.input_norm = norm(module("input_layernorm"), hidden);
  block.query = linear(module("self_attn.q_proj"), query_size, hidden, qkv_bias);
  block.key = linear(module("self_attn.k_proj"), kv_size, hidden, qkv_bias);
  block.value = linear(module("self_attn.v_proj"), kv_size, hidden, qkv_bias);
  block.output = linear(module("self_attn.o_proj"), hidden, query_size);
  block.rope = global_rope_;
  block.heads = config_.heads;
  block.kv_heads = config_.kv_heads;
  block.head_dim = config_.head_dim;
  block.scale = config_.query_scale > 0 ? config_.query_scale
                                        : 1 / std::sqrt(static_cast<float>(config_.head_dim));
  block.softcap = config_.attention_softcap;
  block.window = windowed ? config_.sliding_window : 0;
  return block;
}

FeedForwardBlock PlanBuilder::feed_forward(int layer, std::string_view norm_name) const {
  const auto module = [layer](std::string_view part) { return layer_module(layer, part); };
  const int hidden = config_.hidden_size;
  FeedForwardBlock block;
  block.input_norm = norm(module(norm_name), hidden);
  block.gate = linear(module("mlp.gate_proj"), config_.intermediate_size, hidden);
  block.up = linear(module("mlp.up_proj"), config_.intermediate_size, hidden);
  block.down = linear(module("mlp.down_proj"), hidden, config_.intermediate_size);
  return block;
}

void PlanBuilder::add(AttentionBlock block) {
  ++plan_.kv_layers;
  plan_.blocks.emplace_back(std::move(block));
}

void PlanBuilder::add(FeedForwardBlock block) { plan_.blocks.emplace_back(std::move(block)); }

ModelPlan PlanBuilder::finish() {
  const std::string beyond = layer_module(config_.layers, "self_attn.q_proj.weight");
  if (weights_->find(beyond)) {
    fail(beyond, fmt::format("is there, but the configuration has {} layers", config_.layers));
  }
  const std::string embedding = "model.embed_tokens";
  plan_.embed.table = matrix(embedding + ".weight", config_.vocab_size, config_.hidden_size);
  plan_.embed.scale = config_.embedding_scale;
  plan_.head.norm = norm("model.norm", config_.hidden_size);
  plan_.head.weight = linear(config_.tied_embeddings ? embedding : "lm_head", config_.vocab_size,
                             config_.hidden_size);
  plan_.head.softcap = config_.logit_softcap;
  plan_.config = config_;
  plan_.weights = weights_;
  return std::move(plan_);
}

}  // namespace mlxd
