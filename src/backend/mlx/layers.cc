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

// x + scale * norm(update), in float32.
mx::array add_residual(const mx::array& x, const mx::array& update,
                       const std::optional<NormLayer>& norm, float scale) {
  mx::array wide = mx::astype(update, mx::float32);
  if (norm) wide = norm->apply(wide);
  return x + (scale == 1 ? wide : wide * mx::array(scale));
}

// What the products of a block read.
mx::array block_input(const mx::array& x, const std::optional<NormLayer>& norm, mx::Dtype type) {
  return mx::astype(norm ? norm->apply(x) : x, type);
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
      input_norm_(optional_norm(block.input_norm)),
      query_(block.query, loader),
      key_(block.key, loader),
      value_(block.value, loader),
      output_(block.output, loader),
      query_norm_(optional_norm(block.query_norm)),
      key_norm_(optional_norm(block.key_norm)),
      post_norm_(optional_norm(block.post_norm)) {
  if (block.rope) rope_.emplace(*block.rope);
}

// The product of h in heads, normed over each of them or over all at once. [T, count, head_dim]
mx::array AttentionLayer::heads(const LinearLayer& linear, const std::optional<NormLayer>& norm,
                                const mx::array& h, int count) const {
  const mx::Shape shape = {h.shape(0), count, block_.head_dim};
  const mx::array y = linear.apply(h);
  if (!norm) return mx::reshape(y, shape);
  const bool per_head = norm->size() == block_.head_dim;
  const mx::array normed = norm->apply(per_head ? mx::reshape(y, shape) : y);
  return mx::reshape(mx::astype(normed, h.dtype()), shape);
}

mx::array AttentionLayer::apply(const mx::array& x, mx::Dtype type, PagedCache& cache,
                                StepLayout& layout) const {
  const mx::array h = block_input(x, input_norm_, type);
  mx::array q = heads(query_, query_norm_, h, block_.heads);
  mx::array k = heads(key_, key_norm_, h, block_.kv_heads);
  const mx::array v = heads(value_, std::nullopt, h, block_.kv_heads);
  if (rope_) {
    q = rope_->apply(q, layout.positions());
    k = rope_->apply(k, layout.positions());
  }
  if (block_.temperature) q = q * mx::astype(layout.temperatures(*block_.temperature), type);
  cache.write(block_.layer, layout.slots(cache.group_of(block_.layer)), k, v);
  return add_residual(x, output_.apply(attend(block_, q, cache, layout)), post_norm_,
                      block_.residual_scale);
}

FeedForwardLayer::FeedForwardLayer(const FeedForwardBlock& block, WeightLoader& loader)
    : activation_(block.activation),
      residual_scale_(block.residual_scale),
      input_norm_(optional_norm(block.input_norm)),
      gate_(block.gate, loader),
      up_(block.up, loader),
      down_(block.down, loader),
      post_norm_(optional_norm(block.post_norm)) {}

mx::array FeedForwardLayer::apply(const mx::array& x, mx::Dtype type) const {
  const mx::array h = block_input(x, input_norm_, type);
  const mx::array gated = activate(activation_, gate_.apply(h)) * up_.apply(h);
  return add_residual(x, down_.apply(gated), post_norm_, residual_scale_);
}

}  // namespace mlxd::mlx_backend
