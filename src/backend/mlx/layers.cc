#include "backend/mlx/layers.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

#include "base/check.h"

namespace mlxd::mlx_backend {
namespace {

mx::array wavelengths(const Rope& rope) {
  std::vector<float> out;
  for (const float frequency : rope.inverse_frequencies) out.push_back(1 / frequency);
  return float_array(out);
}

mx::array number(double value, mx::Dtype type) {
  return mx::array(static_cast<float>(value), type);
}

// 0.5 x (1 + erf(x / sqrt(2))), Hendrycks & Gimpel 2016.
mx::array gelu(const mx::array& x) {
  const auto of = [&](double value) { return number(value, x.dtype()); };
  return of(0.5) * x * (of(1) + mx::erf(x * of(1 / std::numbers::sqrt2)));
}

// Its neighbour 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
mx::array gelu_tanh(const mx::array& x) {
  const auto of = [&](double value) { return number(value, x.dtype()); };
  const mx::array inner = of(std::sqrt(2 / std::numbers::pi)) * (x + of(0.044715) * (x * x * x));
  return of(0.5) * x * (of(1) + mx::tanh(inner));
}

mx::array clamped_swiglu(const mx::array& gate, const mx::array& up) {
  const auto of = [&](double value) { return number(value, gate.dtype()); };
  const mx::array g = mx::minimum(gate, of(7));
  const mx::array u = mx::clip(up, of(-7), of(7));
  return g * mx::sigmoid(of(1.702) * g) * (u + of(1));
}

mx::array activate(Activation activation, const std::optional<mx::array>& gate,
                   const mx::array& up) {
  switch (activation) {
    case Activation::silu:
      break;
    case Activation::gelu:
      return gate ? gelu(*gate) * up : gelu(up);
    case Activation::gelu_tanh:
      return gelu_tanh(*gate) * up;
    case Activation::clamped_swiglu:
      return clamped_swiglu(*gate, up);
    case Activation::squared_relu:
      return mx::square(mx::maximum(up, mx::array(0.0f, up.dtype())));
  }
  return *gate * mx::sigmoid(*gate) * up;
}

mx::array scaled(const mx::array& x, float scale) { return scale == 1 ? x : x * mx::array(scale); }

// What the products of a block read.
mx::array block_input(const mx::array& x, const std::optional<NormLayer>& norm, mx::Dtype type) {
  return mx::astype(norm ? norm->apply(x) : x, type);
}

// What the scores of the experts [T, E] are before those chosen are known.
mx::array expert_scores(ExpertScoring scoring, const mx::array& raw) {
  switch (scoring) {
    case ExpertScoring::softmax:
      return mx::softmax(raw, -1, /*precise=*/true);
    case ExpertScoring::sigmoid:
      return mx::sigmoid(raw);
    case ExpertScoring::sqrt_softplus:
      return mx::sqrt(mx::logaddexp(raw, mx::array(0.0f)));
    case ExpertScoring::softmax_chosen:
      break;
  }
  return raw;
}

// Those of experts outside the best groups become the lowest there are.
mx::array merits_of_best_groups(const ExpertChoice& choice, const mx::array& merits) {
  const int rows = merits.shape(0), size = merits.shape(1) / choice.groups;
  const mx::array grouped = mx::reshape(merits, {rows, choice.groups, size});
  const int ranking = choice.groups_by_best ? 1 : 2;  // experts that a group is ranked by
  const mx::array best = size > ranking ? mx::topk(grouped, ranking, -1) : grouped;
  const mx::array order = mx::argsort(-mx::sum(best, -1), -1);  // [T, groups]
  const mx::array others = mx::slice(order, {0, choice.chosen_groups}, {rows, choice.groups});
  const mx::array lowest = mx::full({rows, choice.groups - choice.chosen_groups, size},
                                    -std::numeric_limits<float>::infinity());
  return mx::reshape(
      mx::put_along_axis(grouped, mx::broadcast_to(mx::expand_dims(others, -1), lowest.shape()),
                         lowest, 1),
      merits.shape());
}

}  // namespace

std::optional<NormLayer> optional_norm(const std::optional<RmsNorm>& norm) {
  if (!norm) return std::nullopt;
  return NormLayer(*norm);
}

mx::array add_residual(const mx::array& x, const mx::array& update,
                       const std::optional<NormLayer>& norm, float scale, float stream_scale) {
  mx::array wide = mx::astype(update, mx::float32);
  if (norm) wide = norm->apply(wide);
  return scaled(x + scaled(wide, scale), stream_scale);
}

NormLayer::NormLayer(const RmsNorm& norm)
    : weight_(float_array(norm.weight)), epsilon_(norm.epsilon) {}

mx::array NormLayer::apply(const mx::array& x) const {
  return mx::fast::rms_norm(x, weight_, epsilon_);
}

LinearLayer::LinearLayer(const Linear& linear, WeightLoader& loader)
    : matrix_(loader.matrix(linear.weight)) {
  if (!linear.order.empty()) matrix_ = take_in_order(matrix_, linear.order);
  if (linear.rows.stride > 0) {
    matrix_ = rows_of(matrix_, linear.rows);
    for (auto* part : {&matrix_.scales, &matrix_.biases}) {
      if (*part) *part = mx::flatten(**part, 0, 1);
    }
    matrix_.weight = mx::flatten(matrix_.weight, 0, 1);
  }
  if (!linear.bias.empty()) bias_ = loader.vector(linear.bias);
}

mx::array LinearLayer::apply(const mx::array& x) const {
  const mx::array y = multiply(matrix_, x);
  return bias_ ? y + mx::astype(*bias_, y.dtype()) : y;
}

ExpertLinearLayer::ExpertLinearLayer(const Linear& linear, int experts, WeightLoader& loader)
    : matrix_(loader.matrix(linear.weight)), experts_(experts) {
  if (linear.rows.stride > 0) {
    matrix_ = rows_of(matrix_, linear.rows);
    if (matrix_.weight.shape(0) != experts) copy_rows();
  }
  if (!linear.bias.empty()) bias_ = mx::reshape(loader.vector(linear.bias), {experts, -1});
}

// An expert's rows that lie apart from each other, which MLX's products would put together at each
// call.
void ExpertLinearLayer::copy_rows() {
  copied_ = true;
  std::vector<mx::array> parts;
  const auto copy = [&](mx::array& part) {
    part = mx::contiguous(mx::reshape(part, {experts_, -1, part.shape(-1)}));
    parts.push_back(part);
  };
  copy(matrix_.weight);
  if (matrix_.scales) copy(*matrix_.scales);
  if (matrix_.biases) copy(*matrix_.biases);
  mx::eval(parts);
}

mx::array ExpertLinearLayer::apply(const mx::array& x, const mx::array& chosen) const {
  const mx::array y = multiply_chosen(matrix_, experts_, x, chosen);
  return bias_ ? y + mx::astype(mx::take(*bias_, chosen, 0), y.dtype()) : y;
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
      output_(block.output, loader),
      query_norm_(optional_norm(block.query_norm)),
      key_norm_(optional_norm(block.key_norm)),
      value_norm_(optional_norm(block.value_norm)),
      post_norm_(optional_norm(block.post_norm)) {
  if (block.rope) rope_.emplace(*block.rope);
  check(block.sinks.empty() || block.softcap == 0, "capped scores have no sinks beside them");
  if (!block.sinks.empty()) sinks_ = loader.vector(block.sinks);
  if (block.shares_cache) return;
  key_.emplace(block.key, loader);
  if (!block.values_are_keys()) value_.emplace(block.value, loader);
}

// y in heads, normed over each of them or over all at once. [T, count, head_dim]
mx::array AttentionLayer::heads(const mx::array& y, const std::optional<NormLayer>& norm,
                                int count) const {
  const mx::Shape shape = {y.shape(0), count, block_.head_dim};
  if (!norm) return mx::reshape(y, shape);
  const bool per_head = norm->size() == block_.head_dim;
  const mx::array normed = norm->apply(per_head ? mx::reshape(y, shape) : y);
  return mx::reshape(mx::astype(normed, y.dtype()), shape);
}

mx::array AttentionLayer::apply(const mx::array& x, mx::Dtype type, PagedCache& cache,
                                StepLayout& layout) const {
  const mx::array h = block_input(x, input_norm_, type);
  mx::array all = query_.apply(h);
  std::optional<mx::array> gate;  // [T, heads, head_dim]
  if (block_.gated) {
    const mx::Shape shape = {h.shape(0), block_.heads, 2 * block_.head_dim};
    const std::vector<mx::array> parts = mx::split(mx::reshape(all, shape), 2, -1);
    all = mx::reshape(parts[0], {h.shape(0), block_.heads * block_.head_dim});
    gate = parts[1];
  }
  mx::array q = heads(all, query_norm_, block_.heads);
  if (rope_) q = rope_->apply(q, layout.positions());
  if (block_.temperature) q = q * mx::astype(layout.temperatures(*block_.temperature), type);
  if (key_) {
    const mx::array keys = key_->apply(h);
    mx::array k = heads(keys, key_norm_, block_.kv_heads);
    if (rope_) k = rope_->apply(k, layout.positions());
    const mx::array v = heads(value_ ? value_->apply(h) : keys, value_norm_, block_.kv_heads);
    cache.write(block_.layer, layout.slots(cache.group_of(block_.layer)), k, v);
  }
  mx::array out = attend(block_, q, sinks_, cache, layout);
  if (gate) out = out * mx::reshape(mx::sigmoid(*gate), out.shape());
  return add_residual(x, output_.apply(out), post_norm_, block_.residual_scale);
}

mx::array GatedLayer::apply(const mx::array& h) const {
  std::optional<mx::array> gate;
  if (gate_) gate = gate_->apply(h);
  return down_.apply(activate(activation_, gate, up_.apply(h)));
}

FeedForwardLayer::FeedForwardLayer(const FeedForwardBlock& block, WeightLoader& loader)
    : residual_scale_(block.residual_scale),
      stream_scale_(block.stream_scale),
      input_norm_(optional_norm(block.input_norm)),
      gated_(block, block.activation, loader),
      post_norm_(optional_norm(block.post_norm)) {}

mx::array FeedForwardLayer::apply(const mx::array& x, mx::Dtype type) const {
  const mx::array h = block_input(x, input_norm_, type);
  return add_residual(x, gated_.apply(h), post_norm_, residual_scale_, stream_scale_);
}

ExpertsLayer::ExpertsLayer(const ExpertsBlock& block, WeightLoader& loader)
    : choice_(block.choice),
      activation_(block.activation),
      residual_scale_(block.residual_scale),
      stream_scale_(block.stream_scale),
      input_norm_(optional_norm(block.input_norm)),
      router_norm_(optional_norm(block.router_norm)),
      router_(block.router, loader),
      up_(block.up, block.experts, loader),
      down_(block.down, block.experts, loader),
      experts_norm_(optional_norm(block.experts_norm)),
      post_norm_(optional_norm(block.post_norm)) {
  if (block.gate) gate_.emplace(*block.gate, block.experts, loader);
  if (gate_ && gate_->copied() && up_.copied()) loader.forget(block.gate->weight);
  if (!choice_.bias.empty()) choice_bias_ = float_array(choice_.bias);
  if (!choice_.expert_scales.empty()) expert_scales_ = float_array(choice_.expert_scales);
  if (!block.shared) return;
  shared_ = Shared{optional_norm(block.shared->input_norm),
                   GatedLayer(*block.shared, block.activation, loader), std::nullopt,
                   optional_norm(block.shared->output_norm)};
  if (block.shared->weight) shared_->weight.emplace(*block.shared->weight, loader);
}

// The experts that the rows of h go to, and with which weights.
ExpertsLayer::Choice ExpertsLayer::choose(const mx::array& h) const {
  const mx::array raw = mx::astype(router_.apply(h), mx::float32);  // [T, E]
  const mx::array scores = expert_scores(choice_.scoring, raw);
  mx::array merits = choice_bias_ ? scores + *choice_bias_ : scores;
  if (choice_.chosen_groups < choice_.groups) merits = merits_of_best_groups(choice_, merits);
  const int rows = raw.shape(0);
  // A sort, since it keeps the order of equal ones.
  const mx::array experts = mx::slice(mx::argsort(-merits, -1), {0, 0}, {rows, choice_.chosen});
  mx::array weights = mx::take_along_axis(scores, experts, -1);
  if (choice_.scoring == ExpertScoring::softmax_chosen) {
    weights = mx::softmax(weights, -1);
  } else if (choice_.normalised) {
    weights = weights / mx::sum(weights, -1, /*keepdims=*/true);
  }
  weights = weights * mx::array(choice_.scale);
  if (expert_scales_) weights = weights * mx::take(*expert_scales_, experts, 0);
  return {experts, mx::expand_dims(weights, -1)};
}

mx::array ExpertsLayer::apply(const mx::array& x, mx::Dtype type) const {
  const mx::array h = block_input(x, input_norm_, type);
  const Choice choice = choose(router_norm_ ? block_input(x, router_norm_, type) : h);
  const mx::array row = mx::expand_dims(h, 1);  // [T, 1, D]
  std::optional<mx::array> gate;
  if (gate_) gate = gate_->apply(row, choice.experts);
  const mx::array gated = activate(activation_, gate, up_.apply(row, choice.experts));
  const mx::array outputs = mx::astype(down_.apply(gated, choice.experts), mx::float32);
  mx::array sum = mx::sum(outputs * choice.weights, 1);
  if (experts_norm_) sum = experts_norm_->apply(sum);
  if (shared_) {
    const mx::array read = shared_->input_norm ? block_input(x, shared_->input_norm, type) : h;
    mx::array out = mx::astype(shared_->gated.apply(read), mx::float32);
    if (shared_->weight) {
      out = out * mx::sigmoid(mx::astype(shared_->weight->apply(h), mx::float32));
    }
    sum = sum + (shared_->output_norm ? shared_->output_norm->apply(out) : out);
  }
  return add_residual(x, sum, post_norm_, residual_scale_, stream_scale_);
}

LayerInputsLayer::LayerInputsLayer(const LayerInputs& inputs,
                                   std::shared_ptr<const WeightSource> file, WeightLoader& loader)
    : layers_(inputs.layers),
      size_(inputs.size),
      table_(inputs.table),
      file_(std::move(file)),
      projection_(inputs.projection, loader),
      norm_(inputs.norm),
      table_scale_(inputs.table_scale),
      projection_scale_(inputs.projection_scale),
      scale_(inputs.scale) {}

mx::array LayerInputsLayer::apply(const mx::array& x, std::span<const int> tokens,
                                  mx::Dtype type) const {
  const mx::Shape shape = {static_cast<mx::ShapeElem>(tokens.size()), layers_, size_};
  const auto columns = static_cast<std::size_t>(table_.columns);
  std::vector<float> rows(tokens.size() * columns);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    dequantize_rows(table_, tokens[i], 1, std::span(rows).subspan(i * columns, columns));
  }
  const mx::array projected = mx::astype(projection_.apply(mx::astype(x, type)), mx::float32) *
                              mx::array(projection_scale_);
  const mx::array own = mx::array(rows.begin(), shape) * mx::array(table_scale_);
  return (norm_.apply(mx::reshape(projected, shape)) + own) * mx::array(scale_);
}

LayerInputLayer::LayerInputLayer(const LayerInputBlock& block, WeightLoader& loader)
    : index_(block.index),
      stream_scale_(block.stream_scale),
      gate_(block.gate, loader),
      output_(block.output, loader),
      post_norm_(optional_norm(block.post_norm)) {}

mx::array LayerInputLayer::apply(const mx::array& x, const mx::array& inputs,
                                 mx::Dtype type) const {
  const mx::array gate = gelu_tanh(gate_.apply(mx::astype(x, type)));
  const mx::array input = mx::astype(mx::take(inputs, index_, 1), type);
  return add_residual(x, output_.apply(gate * input), post_norm_, 1, stream_scale_);
}

}  // namespace mlxd::mlx_backend
