#include "model/architectures/plan_builder.h"

#include <cmath>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/error.h"
#include "model/quoted.h"
#include "model/rope.h"

namespace mlxd {

PlanBuilder::PlanBuilder(const ModelConfig& config, std::shared_ptr<const WeightSource> weights)
    : config_(config), weights_(std::move(weights)) {}

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
  if (rows < 1 || columns < 1) fail(name, "is empty");
  return tensor;
}

std::vector<float> PlanBuilder::vector(const std::string& name, std::int64_t size) const {
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

RmsNorm PlanBuilder::norm(int layer, std::string_view part, int size) const {
  return norm(layer_module(layer, part), size);
}

Linear PlanBuilder::linear(const std::string& module, std::int64_t out, int in, Bias bias) const {
  Linear linear{matrix(module + ".weight", out, in), {}};
  const std::string bias_name = module + ".bias";
  if (bias == Bias::required || weights_->find(bias_name)) linear.bias = vector(bias_name, out);
  return linear;
}

Linear PlanBuilder::linear(int layer, std::string_view part, std::int64_t out, int in,
                           Bias bias) const {
  return linear(layer_module(layer, part), out, in, bias);
}

AttentionBlock PlanBuilder::describe_attention(int layer) const {
  const AttentionConfig& described = config_.attention[static_cast<std::size_t>(layer)];
  AttentionBlock block;
  if (described.rope) block.rope = make_rope(*described.rope);
  block.heads = config_.heads;
  block.kv_heads = described.kv_heads;
  block.head_dim = described.head_dim;
  block.scale = described.scale;
  block.softcap = described.softcap;
  block.window = described.window;
  block.temperature = described.temperature;
  block.residual_scale = config_.residual_scale;
  return block;
}

AttentionBlock PlanBuilder::attention(int layer, Bias qkv_bias, std::string_view norm_name,
                                      Gate gate) const {
  const int hidden = config_.hidden_size;
  AttentionBlock block = describe_attention(layer);
  const int query_size = block.heads * block.head_dim, kv_size = block.kv_heads * block.head_dim;
  if (!norm_name.empty()) block.input_norm = norm(layer, norm_name, hidden);
  block.gated = gate == Gate::behind_query;
  block.query = linear(layer, "self_attn.q_proj", block.gated ? 2 * query_size : query_size, hidden,
                       qkv_bias);
  block.key = linear(layer, "self_attn.k_proj", kv_size, hidden, qkv_bias);
  block.value = linear(layer, "self_attn.v_proj", kv_size, hidden, qkv_bias);
  block.output = linear(layer, "self_attn.o_proj", hidden, query_size);
  return block;
}

AttentionBlock PlanBuilder::attention_normed_over_rows(int layer,
                                                       std::string_view norm_name) const {
  AttentionBlock block = attention(layer, Bias::where_present, norm_name);
  block.query_norm = norm(layer, "self_attn.q_norm", block.heads * block.head_dim);
  block.key_norm = norm(layer, "self_attn.k_norm", block.kv_heads * block.head_dim);
  return block;
}

FeedForwardBlock PlanBuilder::feed_forward(int layer, std::string_view norm_name) const {
  const int hidden = config_.hidden_size;
  const int intermediate = config_.intermediate_sizes.empty()
                               ? config_.intermediate_size
                               : config_.intermediate_sizes[static_cast<std::size_t>(layer)];
  FeedForwardBlock block;
  if (!norm_name.empty()) block.input_norm = norm(layer, norm_name, hidden);
  block.gate = linear(layer, "mlp.gate_proj", intermediate, hidden);
  block.up = linear(layer, "mlp.up_proj", intermediate, hidden);
  block.down = linear(layer, "mlp.down_proj", hidden, intermediate);
  block.residual_scale = config_.residual_scale;
  return block;
}

bool PlanBuilder::has(int layer, std::string_view part) const {
  return weights_->find(layer_module(layer, part)).has_value();
}

FeedForwardBlock PlanBuilder::feed_forward_of_one(int layer, std::string_view norm_name) const {
  const int hidden = config_.hidden_size, intermediate = config_.intermediate_size;
  FeedForwardBlock block;
  if (!norm_name.empty()) block.input_norm = norm(layer, norm_name, hidden);
  const Linear gate_up = linear(layer, "mlp.gate_up_proj", 2 * intermediate, hidden);
  block.gate = rows_of(gate_up, 0, intermediate);
  block.up = rows_of(gate_up, intermediate, intermediate);
  block.down = linear(layer, "mlp.down_proj", hidden, intermediate);
  return block;
}

Block PlanBuilder::feed_forward_or_experts(int layer, std::string_view norm_name) const {
  if (config_.experts.count == 0) return feed_forward(layer, norm_name);
  for (const std::string module : {"mlp", "block_sparse_moe"}) {
    if (has(layer, module + ".switch_mlp.down_proj.weight") ||
        has(layer, module + ".experts.down_proj.weight")) {
      return experts_of(layer, module, norm_name);
    }
    for (const char* apart :
         {".experts.0.down_proj.weight", ".experts.0.w2.weight", ".experts.down_proj"}) {
      if (has(layer, module + apart)) {
        fail(layer_module(layer, module + apart),
             "is of experts as transformers stores them; convert the model with mlx_lm.convert, or "
             "take a GGUF file");
      }
    }
  }
  return feed_forward(layer, norm_name);
}

// Some rows of a linear that has all.
Linear with_rows(const Linear& whole, const RowPattern& rows) {
  Linear some{whole.weight, {}, rows};
  for (std::size_t i = 0; i < whole.bias.size(); ++i) {
    const int place = static_cast<int>(i % static_cast<std::size_t>(rows.stride)) - rows.first;
    if (place >= 0 && place < rows.count) some.bias.push_back(whole.bias[i]);
  }
  return some;
}

// A matrix of each expert, [experts * out, in], and biases [experts, out] where the file has them.
Linear PlanBuilder::expert_linear(int layer, const std::string& part, std::int64_t out,
                                  int in) const {
  const std::int64_t experts = config_.experts.count;
  const std::string module = layer_module(layer, part);
  Linear linear{matrix(module + ".weight", experts * out, in), {}};
  for (const char* ending : {".bias", "_bias"}) {
    const std::string bias = module + ending;
    if (weights_->find(bias)) linear.bias = dequantize(matrix(bias, experts, out));
  }
  return linear;
}

ExpertsBlock PlanBuilder::experts(int layer, const std::string& router, const std::string& stacked,
                                  std::string_view norm_name, GateAndUp both) const {
  const ExpertsConfig& described = config_.experts;
  const int hidden = config_.hidden_size;
  const int size = described.intermediate_size;
  if (described.count < 1 || size < 1) {
    fail(layer_module(layer, router), "is there, but the configuration has no experts");
  }
  ExpertsBlock block;
  if (!norm_name.empty()) block.input_norm = norm(layer, norm_name, hidden);
  block.experts = described.count;
  block.router = linear(layer, router, described.count, hidden);
  block.choice.scoring = described.scoring;
  block.choice.groups = described.groups;
  block.choice.chosen_groups = described.chosen_groups;
  block.choice.groups_by_best = described.groups_by_best;
  block.choice.chosen = described.chosen;
  block.choice.normalised = described.normalised;
  block.choice.scale = described.scale;
  if (has(layer, stacked + ".gate_up_proj.weight")) {
    const Linear whole = expert_linear(layer, stacked + ".gate_up_proj", 2 * size, hidden);
    const int count = both == GateAndUp::halves ? size : 1;
    block.gate = with_rows(whole, {.first = 0, .count = count, .stride = 2 * count});
    block.up = with_rows(whole, {.first = count, .count = count, .stride = 2 * count});
  } else {
    if (both != GateAndUp::up_alone) {
      block.gate = expert_linear(layer, stacked + ".gate_proj", size, hidden);
    }
    block.up = expert_linear(layer, stacked + ".up_proj", size, hidden);
  }
  block.down = expert_linear(layer, stacked + ".down_proj", hidden, size);
  block.residual_scale = config_.residual_scale;
  return block;
}

ExpertsBlock PlanBuilder::experts_of(int layer, const std::string& module,
                                     std::string_view norm_name) const {
  const bool stacked = has(layer, module + ".switch_mlp.down_proj.weight");
  ExpertsBlock block =
      experts(layer, module + ".gate", module + (stacked ? ".switch_mlp" : ".experts"), norm_name);
  for (const char* bias : {".gate.e_score_correction_bias", ".gate.e_score_correction.bias",
                           ".e_score_correction_bias"}) {
    if (has(layer, module + bias)) {
      block.choice.bias = vector(layer_module(layer, module + bias), config_.experts.count);
    }
  }
  block.shared = shared_expert(layer, module);
  return block;
}

std::optional<SharedExpert> PlanBuilder::shared_expert(int layer, const std::string& module) const {
  const int shared = config_.experts.shared_intermediate_size, hidden = config_.hidden_size;
  if (shared == 0) return std::nullopt;
  const bool several = has(layer, module + ".shared_experts.down_proj.weight");
  const std::string own = module + (several ? ".shared_experts" : ".shared_expert");
  SharedExpert expert;
  expert.gate = linear(layer, own + ".gate_proj", shared, hidden);
  expert.up = linear(layer, own + ".up_proj", shared, hidden);
  expert.down = linear(layer, own + ".down_proj", hidden, shared);
  const std::string weight = module + ".shared_expert_gate";
  if (has(layer, weight + ".weight")) expert.weight = linear(layer, weight, 1, hidden);
  return expert;
}

std::optional<std::vector<float>> PlanBuilder::numbers(int layer, std::string_view name,
                                                       int size) const {
  if (!has(layer, name)) return std::nullopt;
  return vector(layer_module(layer, name), size);
}

Tensor PlanBuilder::made(const std::string& name, std::vector<float> numbers,
                         std::int64_t columns) {
  const std::vector<float>& kept = made_.emplace_back(std::move(numbers));
  Tensor tensor;
  tensor.name = name;
  tensor.quantization.encoding = Encoding::f32;
  tensor.rows = static_cast<std::int64_t>(kept.size()) / columns;
  tensor.columns = columns;
  tensor.data = std::as_bytes(std::span(kept));
  return tensor;
}

void PlanBuilder::add(LatentAttentionBlock block) {
  block.layer = plan_.kv_layers++;
  plan_.blocks.emplace_back(std::move(block));
}

void PlanBuilder::add(AttentionBlock block) {
  if (!block.shares_cache) block.layer = plan_.kv_layers++;
  plan_.blocks.emplace_back(std::move(block));
}

void PlanBuilder::add(Block block) { plan_.blocks.push_back(std::move(block)); }

ModelPlan PlanBuilder::finish() {
  if (plan_.kv_layers == 0) {
    throw LoadError(weights_->description() +
                    ": no layer has attention; mlxd runs models of which at least one has");
  }
  const std::string beyond =
      layer_module(config_.layers + config_.draft_layers, "self_attn.o_proj.weight");
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
  // scale * (W h + b) = W (scale * h) + scale * b.
  for (float& weight : plan_.head.norm.weight) weight *= config_.logit_scale;
  for (float& bias : plan_.head.weight.bias) bias *= config_.logit_scale;
  plan_.config = config_;
  plan_.weights = weights_;
  if (!made_.empty()) {
    const auto kept = std::make_shared<std::pair<decltype(weights_), decltype(made_)>>(
        weights_, std::move(made_));
    plan_.weights = std::shared_ptr<const WeightSource>(kept, kept->first.get());
  }
  return std::move(plan_);
}

Linear rows_of(const Linear& linear, std::int64_t first, std::int64_t count) {
  const Tensor& whole = linear.weight;
  check(first >= 0 && count >= 0 && first + count <= whole.rows, "the rows are of the matrix");
  const auto part = [&](std::span<const std::byte> bytes) {
    const std::size_t row_bytes = bytes.size() / static_cast<std::size_t>(whole.rows);
    return bytes.subspan(static_cast<std::size_t>(first) * row_bytes,
                         static_cast<std::size_t>(count) * row_bytes);
  };
  Linear rows{whole, {}};
  rows.weight.name += fmt::format("[{}:{}]", first, first + count);
  rows.weight.rows = count;
  rows.weight.data = part(whole.data);
  rows.weight.scales = part(whole.scales);
  rows.weight.biases = part(whole.biases);
  if (!linear.bias.empty()) {
    rows.bias.assign(linear.bias.begin() + first, linear.bias.begin() + first + count);
  }
  return rows;
}

ModelPlan plan_normed_over_rows(const ModelConfig& config,
                                std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(builder.attention_normed_over_rows(layer));
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

ModelPlan plan_llama_like(const ModelConfig& config, std::shared_ptr<const WeightSource> weights) {
  PlanBuilder builder(config, std::move(weights));
  for (int layer = 0; layer < config.layers; ++layer) {
    builder.add(builder.attention(layer));
    builder.add(builder.feed_forward_or_experts(layer));
  }
  return builder.finish();
}

}  // namespace mlxd
