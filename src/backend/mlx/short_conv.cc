#include "backend/mlx/short_conv.h"

namespace mlxd::mlx_backend {

ShortConvLayer::ShortConvLayer(const ShortConvBlock& block, WeightLoader& loader)
    : layer_(block.layer),
      residual_scale_(block.residual_scale),
      input_norm_(*block.input_norm),
      inner_gate_(block.inner_gate, loader),
      outer_gate_(block.outer_gate, loader),
      value_(block.value, loader),
      convolution_(block.convolution, block.convolution_bias, block.kernel),
      output_(block.output, loader) {}

mx::array ShortConvLayer::apply(const mx::array& x, mx::Dtype type, StateCache& states,
                                const StepLayout& layout) const {
  const mx::array h = mx::astype(input_norm_.apply(x), type);
  const mx::array rows = as_float(inner_gate_.apply(h)) * as_float(value_.apply(h));
  const mx::array mixed = run_recurrence(
      layer_, convolution_.kernel(), rows, states, layout, [this](const Advance& of) -> Advanced {
        return {convolution_.apply(of.input, of.end - of.first), of.heads};
      });
  const mx::array gated = as_float(outer_gate_.apply(h)) * mixed;
  return add_residual(x, output_.apply(mx::astype(gated, type)), std::nullopt, residual_scale_);
}

}  // namespace mlxd::mlx_backend
