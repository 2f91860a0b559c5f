#include "backend/mlx/delta_net.h"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace mlxd::mlx_backend {
namespace {

// Rows of the matrix form. What is done for all chunks at once grows with its square, what is done
// from chunk to chunk with their number.
constexpr int kChunk = 16;

// x / |x| over the last dimension.
mx::array unit(const mx::array& x) {
  return x * mx::rsqrt(mx::sum(x * x, -1, /*keepdims=*/true) + mx::array(1e-6f));
}

}  // namespace

DeltaNetLayer::DeltaNetLayer(const DeltaNetBlock& block, WeightLoader& loader)
    : block_(block),
      input_norm_(*block.input_norm),
      qkv_(block.qkv, loader),
      gate_(block.gate, loader),
      alpha_(block.alpha, loader),
      beta_(block.beta, loader),
      convolution_(block.convolution, {}, block.kernel),
      decay_(float_array(block.decay)),
      time_bias_(float_array(block.time_bias)),
      key_heads_(mx::array(0)),
      norm_(block.norm),
      output_(block.output, loader) {
  // The parts of a fused matrix were copied, all of it.
  for (const Linear* part : {&block.gate, &block.beta}) {
    if (!part->order.empty()) loader.forget(part->weight);
  }
  std::vector<int> heads;
  for (int head = 0; head < block.value_heads; ++head) heads.push_back(block.key_head_of(head));
  key_heads_ = int_array(heads);
}

DeltaNetLayer::Rows DeltaNetLayer::mix(const mx::array& convolved, const mx::array& alpha,
                                       const mx::array& beta) const {
  const int rows = convolved.shape(0), keys = block_.key_heads * block_.key_dim;
  const auto part = [&](int first, int heads, int size) {
    return mx::reshape(mx::slice(convolved, {0, first}, {rows, first + heads * size}),
                       {rows, heads, size});
  };
  const auto for_each_value_head = [&](const mx::array& x) { return mx::take(x, key_heads_, 1); };
  const float scale = 1 / std::sqrt(static_cast<float>(block_.key_dim));
  return {.query = for_each_value_head(unit(part(0, block_.key_heads, block_.key_dim)) *
                                       mx::array(scale)),
          .key = for_each_value_head(unit(part(keys, block_.key_heads, block_.key_dim))),
          .value = part(2 * keys, block_.value_heads, block_.value_dim),
          .decay = decay_ * softplus(alpha + time_bias_),
          .beta = mx::sigmoid(beta)};
}

Advanced DeltaNetLayer::advance_one(const Rows& row, const mx::array& heads) {
  // [value_heads, ...]
  const mx::array key = mx::squeeze(row.key, 0), query = mx::squeeze(row.query, 0);
  const mx::array beta = mx::expand_dims(mx::squeeze(row.beta, 0), -1);
  const mx::array decay =
      mx::expand_dims(mx::expand_dims(mx::exp(mx::squeeze(row.decay, 0)), -1), -1);
  const mx::array decayed = heads * decay;
  const mx::array known = mx::squeeze(mx::matmul(mx::expand_dims(key, 1), decayed), 1);
  const mx::array delta = beta * (mx::squeeze(row.value, 0) - known);
  const mx::array next = decayed + mx::expand_dims(key, -1) * mx::expand_dims(delta, 1);
  return {mx::expand_dims(mx::squeeze(mx::matmul(mx::expand_dims(query, 1), next), 1), 0), next};
}

// With c the product of decays from a chunk's first row on, S its state before, and
// A[i, j] = beta_i (c_i / c_j) k_i.k_j for j < i, the rows' changes are
//   U = (I + A)^-1 (beta V) - (I + A)^-1 (beta c K) S,
// their outputs c Q S + M U with M[i, j] = (c_i / c_j) q_i.k_j for j <= i, and the state behind
// them c_last S + (c_last / c K)^T U.
Advanced DeltaNetLayer::advance(const Rows& rows, const mx::array& heads) {
  const int count = rows.query.shape(0), chunks = (count + kChunk - 1) / kChunk;
  const int value_heads = heads.shape(0), value_dim = heads.shape(2);
  const mx::array query = in_chunks(rows.query, chunks, kChunk),
                  key = in_chunks(rows.key, chunks, kChunk);
  const mx::array beta = in_chunks(mx::expand_dims(rows.beta, -1), chunks, kChunk);
  const mx::array log = mx::cumsum(in_chunks(mx::expand_dims(rows.decay, -1), chunks, kChunk), 2);
  const mx::array since_first = mx::exp(log);  // [heads, chunks, kChunk, 1]
  const mx::array last = mx::slice(log, {0, 0, kChunk - 1, 0}, {value_heads, chunks, kChunk, 1});

  const mx::array between = log - mx::swapaxes(log, -1, -2);
  const mx::array up_to = mx::tri(kChunk, kChunk, 0, mx::bool_);
  const mx::array ratio =
      mx::exp(mx::where(up_to, between, mx::array(-std::numeric_limits<float>::infinity())));
  const mx::array keys_turned = mx::swapaxes(key, -1, -2);
  const mx::array known = mx::tril(mx::matmul(key, keys_turned) * ratio * beta, -1);
  const mx::array seen = mx::matmul(query, keys_turned) * ratio;

  // Forward substitution, a row at a time of all chunks: [beta V, beta c K].
  const mx::array right =
      mx::concatenate({beta * in_chunks(rows.value, chunks, kChunk), beta * since_first * key}, -1);
  const auto row_of = [](const mx::array& x, int i) {
    mx::Shape from(x.ndim(), 0), to = x.shape();
    from[2] = i;
    to[2] = i + 1;
    return mx::slice(x, from, to);
  };
  mx::array solved = row_of(right, 0);
  for (int i = 1; i < kChunk; ++i) {
    const mx::array before = mx::slice(row_of(known, i), {0, 0, 0, 0}, {value_heads, chunks, 1, i});
    solved = mx::concatenate({solved, row_of(right, i) - mx::matmul(before, solved)}, 2);
  }
  const std::vector<mx::array> parts = mx::split(solved, mx::Shape{value_dim}, -1);

  const mx::array reads = since_first * query;
  const mx::array writes = mx::swapaxes(mx::exp(last - log) * key, -1, -2);
  const mx::array keeps = mx::exp(last);
  mx::array state = heads;
  std::vector<mx::array> outs;
  for (int i = 0; i < chunks; ++i) {
    const mx::array changes = chunk_of(parts[0], i) - mx::matmul(chunk_of(parts[1], i), state);
    outs.push_back(mx::matmul(chunk_of(reads, i), state) + mx::matmul(chunk_of(seen, i), changes));
    state = chunk_of(keeps, i) * state + mx::matmul(chunk_of(writes, i), changes);
  }
  const mx::array out = outs.size() == 1 ? outs[0] : mx::concatenate(outs, 1);
  return {rows_of(mx::transpose(out, {1, 0, 2}), 0, count), state};
}

mx::array DeltaNetLayer::apply(const mx::array& x, mx::Dtype type, StateCache& states,
                               const StepLayout& layout) const {
  const mx::array h = mx::astype(input_norm_.apply(x), type);
  const mx::array qkv = as_float(qkv_.apply(h));
  const mx::array alpha = as_float(alpha_.apply(h)), beta = as_float(beta_.apply(h));
  const auto advance_rows = [&](const Advance& of) {
    const int count = of.end - of.first;
    const Rows rows = mix(silu(convolution_.apply(of.input, count)),
                          rows_of(alpha, of.first, of.end), rows_of(beta, of.first, of.end));
    return count == 1 ? advance_one(rows, of.heads) : advance(rows, of.heads);
  };
  const mx::array out =
      run_recurrence(block_.layer, block_.kernel, qkv, states, layout, advance_rows);
  const mx::array normed = mx::reshape(norm_.apply(out), {x.shape(0), -1});
  const mx::array gated = normed * silu(as_float(gate_.apply(h)));
  return add_residual(x, output_.apply(mx::astype(gated, type)), std::nullopt,
                      block_.residual_scale);
}

}  // namespace mlxd::mlx_backend
