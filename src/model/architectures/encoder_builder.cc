#include "model/architectures/encoder_builder.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "model/architectures/plan_builder.h"
#include "model/quoted.h"

namespace mlxd {

EncoderBuilder::EncoderBuilder(const ModelConfig& config,
                               std::shared_ptr<const WeightSource> weights)
    : config_(config), weights_(std::move(weights)) {
  plan_.config = config_;
  plan_.weights = weights_;
  plan_.encoder.emplace();
  encoder().first_position = config_.first_position;
  encoder().heads = config_.heads;
  encoder().head_dim = config_.head_dim;
}

void EncoderBuilder::fail(const std::string& name, std::string_view problem) const {
  throw LoadError(
      fmt::format("{}: tensor {} {}", weights_->description(), in_quotes(name), problem));
}

std::string EncoderBuilder::prefix_of(std::string_view name,
                                      std::initializer_list<const char*> prefixes) const {
  for (const char* prefix : prefixes) {
    if (has(fmt::format("{}{}", prefix, name))) return prefix;
  }
  fail(std::string(name), "is missing");
}

Tensor EncoderBuilder::matrix(const std::string& name, std::int64_t rows,
                              std::int64_t columns) const {
  auto tensor = weights_->find(name);
  if (!tensor) fail(name, "is missing");
  if ((rows >= 0 && tensor->rows != rows) || tensor->columns != columns) {
    fail(name, fmt::format("has shape [{}, {}], expected [{}, {}]", tensor->rows, tensor->columns,
                           rows >= 0 ? fmt::format("{}", rows) : "any", columns));
  }
  return *std::move(tensor);
}

std::vector<float> EncoderBuilder::vector(const std::string& name, int size) const {
  return dequantize(matrix(name, 1, size));
}

LayerNorm EncoderBuilder::norm(const std::string& module, Bias bias) const {
  const int size = config_.hidden_size;
  LayerNorm norm{vector(module + ".weight", size), {}, config_.norm_epsilon};
  if (bias == Bias::required || has(module + ".bias")) {
    norm.bias = vector(module + ".bias", size);
  } else {
    norm.bias.assign(norm.weight.size(), 0.0f);
  }
  return norm;
}

Linear EncoderBuilder::linear(const std::string& module, int out, int in, Bias bias) const {
  Linear linear{matrix(module + ".weight", out, in), {}};
  if (bias == Bias::required || has(module + ".bias")) {
    linear.bias = vector(module + ".bias", out);
  }
  return linear;
}

std::vector<float> EncoderBuilder::types(const std::string& module) const {
  const std::string name = module + ".weight";
  const auto size = static_cast<std::size_t>(config_.hidden_size);
  std::vector<float> types(2 * size);
  if (!has(name)) return types;
  const Tensor stored = matrix(name, -1, config_.hidden_size);
  if (stored.rows < 1) fail(name, "is empty");
  for (std::size_t type = 0; type < 2; ++type) {
    const std::int64_t row =
        std::min<std::int64_t>(static_cast<std::int64_t>(type), stored.rows - 1);
    dequantize_rows(stored, row, 1, std::span(types).subspan(type * size, size));
  }
  return types;
}

void EncoderBuilder::set_fused_attention(const std::string& module, EncoderLayer& layer) const {
  const int d = config_.hidden_size;
  const Linear fused = linear(module, 3 * d, d);
  layer.query = rows_of(fused, 0, d);
  layer.key = rows_of(fused, d, d);
  layer.value = rows_of(fused, std::int64_t{2} * d, d);
}

std::pair<Linear, Linear> EncoderBuilder::gate_and_up(const std::string& module) const {
  const int f = config_.intermediate_size;
  const Linear both = linear(module, 2 * f, config_.hidden_size);
  return {rows_of(both, 0, f), rows_of(both, f, f)};
}

void EncoderBuilder::set_positions(int index, EncoderLayer& layer) const {
  const AttentionConfig& attention = config_.attention[static_cast<std::size_t>(index)];
  if (attention.rope) layer.rope = make_rope(*attention.rope);
  layer.window = attention.window;
}

void EncoderBuilder::set_words(const std::string& module) {
  plan_.embed.table = matrix(module + ".weight", config_.vocab_size, config_.hidden_size);
}

ModelPlan EncoderBuilder::finish(const std::string& further) {
  if (has(further)) {
    fail(further, fmt::format("is there, but the configuration has {} layers", config_.layers));
  }
  return std::move(plan_);
}

}  // namespace mlxd
