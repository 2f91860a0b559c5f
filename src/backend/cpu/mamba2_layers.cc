#include "backend/cpu/mamba2_layers.h"

#include <algorithm>
#include <cmath>

namespace mlxd::cpu {
namespace {

HeadStates::Shape shape_of(const PackedMamba2& block) {
  return {.layer = block.layer,
          .kernel = block.kernel,
          .channels = block.channels(),
          .heads = block.heads,
          .key_dim = block.state_size,
          .value_dim = block.head_dim};
}

}  // namespace

void Mamba2Layers::add(const PackedMamba2& block, const Residual* left, bool last) {
  const Stream& all = step_.all();
  const Stream& to = last ? step_.last() : all;
  step_.add_norm(
      all, left, address(block.input_norm),
      step_.reads(all, quantized(block.input) || quantized(block.gate) || quantized(block.time)),
      last);
  step_.add_products({{.linear = &block.input, .stream = &all, .out = &states_.input},
                      {.linear = &block.time, .stream = &all, .out = &states_.beta},
                      {.linear = &block.gate, .stream = &to, .out = &states_.gate}});
  step_.add_rows(all, [this, &block](int, int row) {
    states_.convolve(shape_of(block), block.convolution, block.bias, row);
    weigh(block, row);
  });
  states_.add_advance(shape_of(block), &VectorOps::scan, [&block](int head) {
    const int group = head / (block.heads / block.groups);
    const int key = block.values() + group * block.state_size;
    return HeadStates::HeadRow{.query = key + block.groups * block.state_size,
                               .key = key,
                               .value = head * block.head_dim,
                               .skip = block.skip[head]};
  });
  step_.add_rows(to, [this, &block, &to](int, int row) { finish(block, to, row); });
  step_.add_products(
      {{.linear = &block.output, .stream = &to, .input = &states_.gated, .out = &step_.y()}});
}

// The time of each head, and what it leaves of the state.
void Mamba2Layers::weigh(const PackedMamba2& block, int row) {
  float *const time = states_.beta.row(row), *const decay = states_.decay.row(row);
  for (int head = 0; head < block.heads; ++head) {
    const float step = softplus(time[head] + block.time_bias[head]);
    time[head] = std::clamp(step, block.least_time, block.most_time);
    decay[head] = std::exp(block.decay[head] * time[head]);
  }
}

// Gate, norm and, for the product, quantisation of a row that goes on.
void Mamba2Layers::finish(const PackedMamba2& block, const Stream& to, int row) {
  const VectorOps& ops = step_.ops();
  float* const gate = states_.gate.row(row);
  ops.silu_gate(gate, states_.out.row(step_.batch_row(to, row)), block.values());
  const int size = block.values() / block.norm_groups;
  for (int group = 0; group < block.norm_groups; ++group) {
    float* const at = gate + group * size;
    ops.rms_norm(at, block.norm.weight.data() + group * size, block.norm.epsilon, size, at);
  }
  step_.put(states_.gated, step_.reads(to, quantized(block.output)), row, {0, block.values()},
            gate);
}

}  // namespace mlxd::cpu
