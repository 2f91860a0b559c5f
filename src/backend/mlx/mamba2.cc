#include "backend/mlx/mamba2.h"

#include <limits>
#include <vector>

namespace mlxd::mlx_backend {
namespace {

// Rows of the matrix form: what is done within a chunk grows with its square, what is done from
// chunk to chunk with their number.
constexpr int kChunk = 64;

std::vector<int> group_of_each(const Mamba2Block& block) {
  std::vector<int> groups;
  for (int head = 0; head < block.heads; ++head) {
    groups.push_back(head / (block.heads / block.groups));
  }
  return groups;
}

}  // namespace

Mamba2Layer::Mamba2Layer(const Mamba2Block& block, WeightLoader& loader)
    : block_(block),
      input_norm_(*block.input_norm),
      gate_(block.gate, loader),
      input_(block.input, loader),
      time_(block.time, loader),
      convolution_(block.convolution, block.convolution_bias, block.kernel),
      decay_(float_array(block.decay)),
      time_bias_(float_array(block.time_bias)),
      skip_(mx::expand_dims(float_array(block.skip), -1)),
      groups_(int_array(group_of_each(block))),
      norm_(float_array(block.norm.weight)),
      output_(block.output, loader) {}

// With l the sum of the decays from a chunk's first row on and S its state before, the rows'
// outputs are e^l C S + M V with M[i, j] = e^(l_i - l_j) c_i.b_j for j <= i, and the state behind
// them e^(l_last) S + (e^(l_last - l) B)^T V.
Advanced Mamba2Layer::advance(const Rows& rows, const mx::array& heads) {
  const int count = rows.value.shape(0);
  const int size = count < kChunk ? count : kChunk, chunks = (count + size - 1) / size;
  const int head_count = heads.shape(0);
  const mx::array value = in_chunks(rows.value, chunks, size);
  const mx::array write = in_chunks(rows.write, chunks, size);
  const mx::array read = in_chunks(rows.read, chunks, size);
  const mx::array log = mx::cumsum(in_chunks(mx::expand_dims(rows.decay, -1), chunks, size), 2);
  const mx::array last = mx::slice(log, {0, 0, size - 1, 0}, {head_count, chunks, size, 1});

  const mx::array between = log - mx::swapaxes(log, -1, -2);
  const mx::array ratio = mx::exp(mx::where(mx::tri(size, size, 0, mx::bool_), between,
                                            mx::array(-std::numeric_limits<float>::infinity())));
  const mx::array within = mx::matmul(mx::matmul(read, mx::swapaxes(write, -1, -2)) * ratio, value);
  const mx::array reads = mx::exp(log) * read;
  const mx::array changes = mx::matmul(mx::swapaxes(mx::exp(last - log) * write, -1, -2), value);
  const mx::array keeps = mx::exp(last);
  mx::array state = heads;
  std::vector<mx::array> outs;
  for (int i = 0; i < chunks; ++i) {
    outs.push_back(chunk_of(within, i) + mx::matmul(chunk_of(reads, i), state));
    state = chunk_of(keeps, i) * state + chunk_of(changes, i);
  }
  const mx::array out = outs.size() == 1 ? outs[0] : mx::concatenate(outs, 1);
  return {rows_of(mx::transpose(out, {1, 0, 2}), 0, count), state};
}

mx::array Mamba2Layer::apply(const mx::array& x, mx::Dtype type, StateCache& states,
                             const StepLayout& layout) const {
  const mx::array h = mx::astype(input_norm_.apply(x), type);
  const mx::array input = as_float(input_.apply(h));
  const mx::array time = mx::clip(softplus(as_float(time_.apply(h)) + time_bias_),
                                  mx::array(block_.least_time), mx::array(block_.most_time));
  const auto advance_rows = [&](const Advance& of) -> Advanced {
    const int count = of.end - of.first;
    const mx::array mixed = silu(convolution_.apply(of.input, count));
    const auto part = [&](int first, int parts, int size) {
      return mx::reshape(mx::slice(mixed, {0, first}, {count, first + parts * size}),
                         {count, parts, size});
    };
    const auto of_groups = [&](int first) {
      return mx::take(part(first, block_.groups, block_.state_size), groups_, 1);
    };
    const mx::array own = rows_of(time, of.first, of.end);
    const mx::array value = part(0, block_.heads, block_.head_dim);
    Advanced advanced =
        advance({.value = value * mx::expand_dims(own, -1),
                 .write = of_groups(block_.values()),
                 .read = of_groups(block_.values() + block_.groups * block_.state_size),
                 .decay = decay_ * own},
                of.heads);
    advanced.out = advanced.out + skip_ * value;
    return advanced;
  };
  const mx::array out =
      run_recurrence(block_.layer, block_.kernel, input, states, layout, advance_rows);
  const int rows = x.shape(0);
  const mx::array gated = silu(as_float(gate_.apply(h))) * mx::reshape(out, {rows, -1});
  const mx::array normed =
      mx::reshape(mx::fast::rms_norm(mx::reshape(gated, {rows, block_.norm_groups, -1}),
                                     std::nullopt, block_.norm.epsilon),
                  {rows, -1});
  return add_residual(x, output_.apply(mx::astype(normed * norm_, type)), std::nullopt,
                      block_.residual_scale);
}

}  // namespace mlxd::mlx_backend
