// The blocks that keep a recurrent state.
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "model/architectures/plan_builder.h"

namespace mlxd {
namespace {

// Of `groups` of `stride` rows each, those [first, first + count), after what is in `rows` already.
void append_rows(std::vector<int>& rows, int groups, int stride, int first, int count) {
  for (int group = 0; group < groups; ++group) {
    for (int i = 0; i < count; ++i) rows.push_back(group * stride + first + i);
  }
}

Linear in_order(const Linear& all, const std::vector<int>& order) {
  Linear some{all.weight, {}, {}, order};
  for (const int row : order) {
    if (!all.bias.empty()) some.bias.push_back(all.bias[static_cast<std::size_t>(row)]);
  }
  return some;
}

// The rows of q, k, v and z lie together for each key head (Qwen3-Next).
void split_qkvz(const Linear& all, DeltaNetBlock& block) {
  const int keys = block.key_dim, heads = block.key_heads;
  const int values = block.value_heads / heads * block.value_dim, stride = 2 * (keys + values);
  std::vector<int> qkv, gate;
  append_rows(qkv, heads, stride, 0, keys);
  append_rows(qkv, heads, stride, keys, keys);
  append_rows(qkv, heads, stride, 2 * keys, values);
  append_rows(gate, heads, stride, 2 * keys + values, values);
  block.qkv = in_order(all, qkv);
  block.gate = in_order(all, gate);
}

// Likewise those of beta and alpha.
void split_ba(const Linear& all, DeltaNetBlock& block) {
  const int heads = block.key_heads, values = block.value_heads / heads;
  std::vector<int> alpha, beta;
  append_rows(beta, heads, 2 * values, 0, values);
  append_rows(alpha, heads, 2 * values, values, values);
  block.beta = in_order(all, beta);
  block.alpha = in_order(all, alpha);
}

}  // namespace

// So many numbers in any shape: a convolution is [channels, kernel, 1] in MLX's files, [channels,
// 1, kernel] in transformers' and [channels, kernel] in GGUF, a number for each head [heads, 1]
// there.
std::vector<float> PlanBuilder::flat(const std::string& name, std::int64_t rows,
                                     std::int64_t columns) const {
  const Tensor tensor = require(name);
  if (tensor.rows * tensor.columns != rows * columns) {
    fail(name, fmt::format("has shape [{}, {}], expected [{}, {}]", tensor.rows, tensor.columns,
                           rows, columns));
  }
  return dequantize(tensor);
}

std::vector<float> PlanBuilder::decay(int layer, const std::string& module, int heads) const {
  if (has(layer, module + ".A")) return flat(layer_module(layer, module + ".A"), heads, 1);
  std::vector<float> decay = flat(layer_module(layer, module + ".A_log"), heads, 1);
  for (float& value : decay) value = -std::exp(value);
  return decay;
}

std::vector<float> PlanBuilder::time_bias(int layer, const std::string& module, int heads) const {
  const char* part = has(layer, module + ".dt_proj.bias") ? ".dt_proj.bias" : ".dt_bias";
  return flat(layer_module(layer, module + part), heads, 1);
}

DeltaNetBlock PlanBuilder::delta_net(int layer, std::string_view norm_name) const {
  const DeltaNetConfig& described = config_.delta_net;
  const int hidden = config_.hidden_size;
  DeltaNetBlock block;
  block.input_norm = norm(layer, norm_name, hidden);
  block.key_heads = described.key_heads;
  block.value_heads = described.value_heads;
  block.key_dim = described.key_dim;
  block.value_dim = described.value_dim;
  block.kernel = described.kernel;
  block.tiled = described.tiled;
  const int values = block.value_heads * block.value_dim;
  if (has(layer, "linear_attn.in_proj_qkvz.weight")) {
    split_qkvz(linear(layer, "linear_attn.in_proj_qkvz", block.channels() + values, hidden), block);
  } else {
    block.qkv = linear(layer, "linear_attn.in_proj_qkv", block.channels(), hidden);
    block.gate = linear(layer, "linear_attn.in_proj_z", values, hidden);
  }
  if (has(layer, "linear_attn.in_proj_ba.weight")) {
    split_ba(linear(layer, "linear_attn.in_proj_ba", 2 * std::int64_t{block.value_heads}, hidden),
             block);
  } else {
    block.alpha = linear(layer, "linear_attn.in_proj_a", block.value_heads, hidden);
    block.beta = linear(layer, "linear_attn.in_proj_b", block.value_heads, hidden);
  }
  block.convolution =
      flat(layer_module(layer, "linear_attn.conv1d.weight"), block.channels(), block.kernel);
  block.decay = decay(layer, "linear_attn", block.value_heads);
  block.time_bias = time_bias(layer, "linear_attn", block.value_heads);
  // The one norm that is stored as it is where others lack 1.
  block.norm = {vector(layer_module(layer, "linear_attn.norm.weight"), block.value_dim),
                config_.norm_epsilon};
  block.output = linear(layer, "linear_attn.out_proj", hidden, values);
  block.residual_scale = config_.residual_scale;
  return block;
}

ShortConvBlock PlanBuilder::short_convolution(int layer, std::string_view norm_name) const {
  const int hidden = config_.hidden_size;
  ShortConvBlock block;
  block.input_norm = norm(layer, norm_name, hidden);
  const Linear all = linear(layer, "conv.in_proj", 3 * std::int64_t{hidden}, hidden);
  block.inner_gate = rows_of(all, 0, hidden);
  block.outer_gate = rows_of(all, hidden, hidden);
  block.value = rows_of(all, 2 * std::int64_t{hidden}, hidden);
  block.kernel = config_.short_convolution;
  block.convolution = flat(layer_module(layer, "conv.conv.weight"), hidden, block.kernel);
  block.convolution_bias = numbers(layer, "conv.conv.bias", hidden).value_or(std::vector<float>());
  block.output = linear(layer, "conv.out_proj", hidden, hidden);
  block.residual_scale = config_.residual_scale;
  return block;
}

Mamba2Block PlanBuilder::mamba2(int layer, std::string_view norm_name) const {
  const Mamba2Config& described = config_.mamba2;
  const int hidden = config_.hidden_size;
  Mamba2Block block;
  block.input_norm = norm(layer, norm_name, hidden);
  block.heads = described.heads;
  block.head_dim = described.head_dim;
  block.groups = described.groups;
  block.state_size = described.state_size;
  block.kernel = described.kernel;
  block.least_time = described.least_time;
  block.most_time = described.most_time;
  const int values = block.values(), channels = block.channels();
  const Linear all = linear(layer, "mamba.in_proj", values + channels + block.heads, hidden);
  block.gate = rows_of(all, 0, values);
  block.input = rows_of(all, values, channels);
  block.time = rows_of(all, values + channels, block.heads);
  block.convolution = flat(layer_module(layer, "mamba.conv1d.weight"), channels, block.kernel);
  block.convolution_bias =
      numbers(layer, "mamba.conv1d.bias", channels).value_or(std::vector<float>());
  block.decay = decay(layer, "mamba", block.heads);
  block.time_bias = time_bias(layer, "mamba", block.heads);
  const char* skip = has(layer, "mamba.D") ? "mamba.D" : "mamba.D.weight";
  block.skip = flat(layer_module(layer, skip), block.heads, 1);
  block.norm = {flat(layer_module(layer, "mamba.norm.weight"), values, 1), config_.norm_epsilon};
  block.output = linear(layer, "mamba.out_proj", hidden, values);
  block.residual_scale = config_.residual_scale;
  return block;
}

void PlanBuilder::add(DeltaNetBlock block) {
  block.layer = plan_.state_layers++;
  add(Block(std::move(block)));
}

void PlanBuilder::add(ShortConvBlock block) {
  block.layer = plan_.state_layers++;
  add(Block(std::move(block)));
}

void PlanBuilder::add(Mamba2Block block) {
  block.layer = plan_.state_layers++;
  add(Block(std::move(block)));
}

}  // namespace mlxd
