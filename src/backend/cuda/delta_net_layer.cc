#include "backend/cuda/delta_net_layer.h"

#include "backend/cuda/expert_kernels.h"

namespace mlxd::cuda_backend {
namespace {

// [channels, kernel] as [kernel, channels]
std::vector<float> by_row(const std::vector<float>& numbers, int channels, int kernel) {
  std::vector<float> turned(numbers.size());
  for (int channel = 0; channel < channels; ++channel) {
    for (int k = 0; k < kernel; ++k) {
      turned[static_cast<std::size_t>(k * channels + channel)] =
          numbers[static_cast<std::size_t>(channel * kernel + k)];
    }
  }
  return turned;
}

}  // namespace

DeltaNetLayer::DeltaNetLayer(const DeltaNetBlock& block, Weights& weights)
    : layer_(block.layer),
      width_(static_cast<int>(block.qkv.weight.columns)),
      input_norm_(weights.norm(block.input_norm)),
      factors_(weights.plain(factors_of(block))),
      output_(weights.linear(plan_matrix(block.output, weights.element()))),
      residual_scale_(block.residual_scale) {
  for (const MatrixPlan& plan : plan_input(block, weights.element())) {
    into_.push_back(weights.linear(plan));
  }
  std::vector<float> bias = block.alpha.bias;
  bias.insert(bias.end(), block.beta.bias.begin(), block.beta.bias.end());
  if (!bias.empty()) factor_bias_ = weights.vector(bias);
  shape_ = {
      .key_heads = block.key_heads,
      .value_heads = block.value_heads,
      .key_dim = block.key_dim,
      .value_dim = block.value_dim,
      .kernel = block.kernel,
      .tiled = block.tiled,
      .convolution = weights.vector(by_row(block.convolution, block.channels(), block.kernel)),
      .decay = weights.vector(block.decay),
      .time_bias = weights.vector(block.time_bias),
      .norm = weights.norm(block.norm)};
}

void DeltaNetLayer::run(const StepContext& step) const {
  const Workspace& space = step.space;
  const LayerStates states = step.states.layer(layer_);
  const StateRows& rows = step.input.states;
  const int columns = shape_.channels() + shape_.values();
  float* const mixed = space.mixed;
  float* const left =
      mixed + static_cast<std::size_t>(step.rows) * static_cast<std::size_t>(shape_.channels());
  score(input_norm_, space.x, width_, step.rows, factors_, factor_bias_, 2 * shape_.value_heads,
        space.scores, step.stream);
  normalise(step.element, input_norm_, space.x, width_, nullptr, step.rows, space.h16,
            padded(width_), step.stream);
  float* out = space.heads;
  for (const DeviceLinear& linear : into_) {
    const Epilogue end{.bias = linear.bias, .out = out, .stride = columns};
    multiply(step.element, linear.matrix, space.h16, padded(width_), step.rows, end, step.stream);
    out += linear.matrix.shape.rows;
  }
  convolve(shape_, rows, states, space.heads, columns, step.rows, space.scores, mixed, step.stream);
  advance_states(shape_, rows, states, space.heads, columns, mixed, space.scores, left,
                 step.stream);
  const int stride = padded(shape_.values());
  gate_heads(step.element, shape_, space.heads, columns, left, step.rows, space.wide16, stride,
             step.stream);
  clear_columns(step.element, space.wide16, shape_.values(), stride, step.rows, step.stream);
  add_to_stream(step, output_, space.wide16, {}, residual_scale_, 1);
}

}  // namespace mlxd::cuda_backend
