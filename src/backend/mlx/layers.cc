#include "backend/mlx/layers.h"

#include <cmath>
#include <numbers>
#include <vector>

namespace mlxd::mlx_backend {
namespace {

mx::array float_array(const std::vector<float>& values) {
  return mx::array(values.begin(), {static_cast<mx::ShapeElem>(values.size())});
}

std::optional<NormLayer> optional_norm(const std::optional<RmsNorm>& norm) {
  if (!norm) return std::nullopt;
  return NormLayer(*norm);
}

mx::array wavelengths(const Rope& rope) {
  std::vector<float> out;
  for (const float frequency : rope.inverse_frequencies) out.push_back(1 / frequency);
  return float_array(out);
}

mx::array activate(Activation activation, const mx::array& x) {
  if (activation == Activation::silu) return x * mx::sigmoid(x);
  // 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), Hendrycks & Gimpel 2016.
  const auto number = [&](double value) { return mx::array(static_cast<float>(value), x.dtype()); };
  const mx::array inner =
      number(std::sqrt(2 / std::numbers::pi)) * (x + number(0.044715) * (x * x * x));
  return number(0.5) * x * (number(1) + mx::tanh(inner));
}

// x + norm(update), in float32.
mx::array add_residual(const mx::array& x, const mx::array& update,
                       const std::optional<NormLayer>& norm) {
  const mx::array wide = mx::astype(update, mx::float32);
  return x + (norm ? norm->apply(wide) : wide);
}

}  // namespace

NormLayer::NormLayer(const RmsNorm& norm)
    : weight_(float_array(norm.weight)), epsilon_(norm.epsilon) {}

mx::array NormLayer::apply(const mx::array& x) const {
  return mx::fast::rms_norm(x, weight_, epsilon_);
}

LinearLayer::LinearLayer(const Linear& linear, WeightLoader& loader)
    : matrix_(loader.matrix(linear.weight)) {
  if (!linear.bias.empty()) bias_ = loader.vector(linear.bias);
}

mx::array LinearLayer::apply(const mx::array& x) const {
  const mx::array y = multiply(matrix_, x);
  return bias_ ? y + mx::astype(*bias_, y.dtype()) : y;
}

RopeLayer::RopeLayer(const Rope& rope)
    : dimensions_(static_cast<int>(2 * rope.inverse_frequencies.size())),
      interleaved_(rope.interleaved),
      magnitude_(rope.magnitude),
      wavelengths_(wavelengths(rope)) {}

mx::array RopeLayer::apply(const mx::array& x, const mx::array& positions) const {
  const mx::Shape shape = x.shape();
  // Each row is a batch of its own, so that each has its own position.
  const mx::array rows = mx::expand_dims(x, 2);  // [T, heads, 1, d]
  mx::array out = mx::squeeze(
      mx::fast::rope(rows, dimensions_, interleaved_, std::nullopt, 1.0f, positions, wavelengths_),
      2);
  if (magnitude_ == 1) return out;
  const mx::array scale(magnitude_, x.dtype());
  if (dimensions_ == shape.back()) return out * scale;
  const mx::Shape from = {0, 0, dimensions_}, rotated = {shape[0], shape[1], dimensions_};
  return mx::concatenate({mx::slice(out, {0, 0, 0}, rotated) * scale, mx::slice(out, from, shape)},
                         -1);
}

AttentionLayer::AttentionLayer(const AttentionBlock& block, WeightLoader& loader)
    : block_(block),
      input_norm_(block.input_norm),
      query_(block.query, loader),
      key_(block.key, loader),
      value_(block.value, loader),
      output_(block.output, loader),
      query_norm_(optional_norm(block.query_norm)),
      key_norm_(optional_norm(block.key_norm)),
      post_norm_(optional_norm(block.post_norm)),
      rope_(block.rope) {}

mx::array AttentionLayer::apply(const mx::array& x, mx::Dtype type, PagedCache& cache,
                                StepLayout& layout) const {
  const int rows = x.shape(0);
  const mx::array h = mx::astype(input_norm_.apply(x), type);
  mx::array q = mx::reshape(query_.apply(h), {rows, block_.heads, block_.head_dim});
  mx::array k = mx::reshape(key_.apply(h), {rows, block_.kv_heads, block_.head_dim});
  const mx::array v = mx::reshape(value_.apply(h), {rows, block_.kv_heads, block_.head_dim});
  if (query_norm_) q = mx::astype(query_norm_->apply(q), type);
  if (key_norm_) k = mx::astype(key_norm_->apply(k), type);
  q = rope_.apply(q, layout.positions());
  k = rope_.apply(k, layout.positions());
  cache.write(block_.layer, layout.slots(cache.group_of(block_.layer)), k, v);
  return add_residual(x, output_.apply(attend(block_, q, cache, layout)), post_norm_);
}

FeedForwardLayer::FeedForwardLayer(const FeedForwardBlock& block, WeightLoader& loader)
    : activation_(block.activation),
      input_norm_(block.input_norm),
      gate_(block.gate, loader),
      up_(block.up, loader),
      down_(block.down, loader),
      post_norm_(optional_norm(block.post_norm)) {}

mx::array FeedForwardLayer::apply(const mx::array& x, mx::Dtype type) const {
  const mx::array h = mx::astype(input_norm_.apply(x), type);
  const mx::array gated = activate(activation_, gate_.apply(h)) * up_.apply(h);
  return add_residual(x, down_.apply(gated), post_norm_);
}

}  // namespace mlxd::mlx_backend
