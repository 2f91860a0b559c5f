#include "backend/cpu/delta_net_layers.h"

#include <cmath>

namespace mlxd::cpu {
namespace {

HeadStates::Shape shape_of(const PackedDeltaNet& block) {
  return {.layer = block.layer,
          .kernel = block.kernel,
          .channels = block.channels(),
          .heads = block.value_heads,
          .key_dim = block.key_dim,
          .value_dim = block.value_dim};
}

}  // namespace

void DeltaNetLayers::add(const PackedDeltaNet& block, const Residual* left, bool last) {
  const Stream& all = step_.all();
  const Stream& to = last ? step_.last() : all;
  step_.add_norm(all, left, address(block.input_norm),
                 step_.reads(all, quantized(block.qkv) || quantized(block.gate) ||
                                      quantized(block.alpha) || quantized(block.beta)),
                 last);
  step_.add_products({{.linear = &block.qkv, .stream = &all, .out = &states_.input},
                      {.linear = &block.alpha, .stream = &all, .out = &states_.decay},
                      {.linear = &block.beta, .stream = &all, .out = &states_.beta},
                      {.linear = &block.gate, .stream = &to, .out = &states_.gate}});
  step_.add_rows(all, [this, &block](int, int row) {
    convolve(block, row);
    weigh(block, row);
  });
  states_.add_advance(shape_of(block), &VectorOps::delta_rule,
                      [&block, keys = block.key_heads * block.key_dim](int head) {
                        const int key = block.key_head_of(head) * block.key_dim;
                        return HeadStates::HeadRow{.query = key,
                                                   .key = keys + key,
                                                   .value = 2 * keys + head * block.value_dim};
                      });
  step_.add_rows(to, [this, &block, &to](int, int row) { finish(block, to, row); });
  step_.add_products(
      {{.linear = &block.output, .stream = &to, .input = &states_.gated, .out = &step_.y()}});
}

// q, k and v of a row, q and k normed.
void DeltaNetLayers::convolve(const PackedDeltaNet& block, int row) {
  states_.convolve(shape_of(block), block.convolution, {}, row);
  for (int head = 0; head < 2 * block.key_heads; ++head) {
    const RmsNorm& norm = head < block.key_heads ? block.query_norm : block.key_norm;
    float* const at = states_.mixed.row(row) + head * block.key_dim;
    step_.ops().rms_norm(at, norm.weight.data(), norm.epsilon, block.key_dim, at);
  }
}

// alpha and beta become the factors that they stand for.
void DeltaNetLayers::weigh(const PackedDeltaNet& block, int row) {
  float *const decay = states_.decay.row(row), *const beta = states_.beta.row(row);
  for (int head = 0; head < block.value_heads; ++head) {
    decay[head] = std::exp(block.decay[head] * softplus(decay[head] + block.time_bias[head]));
    beta[head] = 1 / (1 + std::exp(-beta[head]));
  }
}

// Norm, gate and, for the product, quantisation of a row that goes on.
void DeltaNetLayers::finish(const PackedDeltaNet& block, const Stream& to, int row) {
  const VectorOps& ops = step_.ops();
  float* const gate = states_.gate.row(row);
  float* const out = states_.out.row(step_.batch_row(to, row));
  for (int head = 0; head < block.value_heads; ++head) {
    float* const at = out + head * block.value_dim;
    ops.rms_norm(at, block.norm.weight.data(), block.norm.epsilon, block.value_dim, at);
  }
  ops.silu_gate(gate, out, block.values());
  step_.put(states_.gated, step_.reads(to, quantized(block.output)), row, {0, block.values()},
            gate);
}

}  // namespace mlxd::cpu
