#include "backend/mlx/recurrence.h"

#include <utility>

namespace mlxd::mlx_backend {

mx::array as_float(const mx::array& x) { return mx::astype(x, mx::float32); }

mx::array silu(const mx::array& x) { return x * mx::sigmoid(x); }

mx::array softplus(const mx::array& x) { return mx::logaddexp(x, mx::array(0.0f)); }

mx::array rows_of(const mx::array& x, int first, int end) {
  mx::Shape from(x.ndim(), 0), to = x.shape();
  from[0] = first;
  to[0] = end;
  return mx::slice(x, from, to);
}

mx::array in_chunks(const mx::array& x, int chunks, int size) {
  const int missing = chunks * size - x.shape(0);
  const mx::array padded = mx::pad(x, {{0, missing}, {0, 0}, {0, 0}});
  return mx::reshape(mx::transpose(padded, {1, 0, 2}), {x.shape(1), chunks, size, x.shape(2)});
}

mx::array chunk_of(const mx::array& x, int index) { return mx::take(x, mx::array(index), 1); }

ConvolutionLayer::ConvolutionLayer(const std::vector<float>& weights,
                                   const std::vector<float>& bias, int kernel)
    : kernel_(kernel),
      weights_(mx::contiguous(mx::transpose(mx::reshape(float_array(weights), {-1, kernel})))) {
  if (!bias.empty()) bias_ = float_array(bias);
}

mx::array ConvolutionLayer::apply(const mx::array& input, int rows) const {
  mx::array sum = rows_of(input, 0, rows) * rows_of(weights_, 0, 1);
  for (int i = 1; i < kernel_; ++i) {
    sum = sum + rows_of(input, i, i + rows) * rows_of(weights_, i, i + 1);
  }
  return bias_ ? sum + *bias_ : sum;
}

mx::array run_recurrence(int layer, int kernel, const mx::array& rows, StateCache& states,
                         const StepLayout& layout,
                         const std::function<Advanced(const Advance&)>& advance) {
  const int kept = kernel - 1;
  std::vector<mx::array> outs;
  for (const StepLayout::Part& part : layout.parts()) {
    const int first = part.first_row;
    const StateCache::State& before = states.read(layer, part.state);
    const mx::array input =
        mx::concatenate({before.convolution, rows_of(rows, first, first + part.query_length)}, 0);
    mx::array heads = before.heads;
    int done = 0;
    const auto advance_to = [&](int end) {
      Advanced advanced =
          advance({rows_of(input, done, end + kept), first + done, first + end, heads});
      outs.push_back(std::move(advanced.out));
      heads = std::move(advanced.heads);
      done = end;
    };
    for (const StateSave& save : part.saves) {
      advance_to(save.after_row - first + 1);
      states.save(layer, save.slot, {mx::contiguous(rows_of(input, done, done + kept)), heads});
    }
    if (done < part.query_length) advance_to(part.query_length);
  }
  return outs.size() == 1 ? outs[0] : mx::concatenate(outs, 0);
}

}  // namespace mlxd::mlx_backend
