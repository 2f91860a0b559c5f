#include "backend/cpu/delta_net_layers.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/state_columns.h"

namespace mlxd::cpu {
namespace {

int columns_of(const PackedDeltaNet& block) { return state_columns(block.value_dim); }

ConvolutionRows::Layer convolution_of(const PackedDeltaNet& block) {
  return {block.layer, block.kernel, block.channels()};
}

}  // namespace

DeltaNetLayers::DeltaNetLayers(StepPhases& step, StateCache& states)
    : step_(step), states_(states), convolution_(states, qkv_), scratch_(step.workers()) {}

void DeltaNetLayers::add(const PackedDeltaNet& block, const Residual* left, bool last) {
  channels_ = std::max(channels_, block.channels());
  values_ = std::max(values_, block.values());
  heads_ = std::max(heads_, block.value_heads);
  state_floats_ = std::max(state_floats_, block.key_dim * columns_of(block));
  const Stream& all = step_.all();
  const Stream& to = last ? step_.last() : all;
  step_.add_norm(all, left, address(block.input_norm),
                 quantized(block.qkv) || quantized(block.gate) || quantized(block.alpha) ||
                     quantized(block.beta),
                 last);
  step_.add_products({{.linear = &block.qkv, .stream = &all, .out = &qkv_},
                      {.linear = &block.alpha, .stream = &all, .out = &decay_},
                      {.linear = &block.beta, .stream = &all, .out = &beta_},
                      {.linear = &block.gate, .stream = &to, .out = &gate_}});
  step_.add_rows(all, [this, &block](int, int row) {
    convolve(block, row);
    weigh(block, row);
  });
  // Behind the columns of all heads of all sequences, the rows that the convolution will see.
  const int columns = columns_of(block), parts = block.value_heads * (block.value_dim / columns);
  const auto sequences = [this] { return static_cast<int>(step_.batch().sequences.size()); };
  const auto run = [this, &block, sequences, columns, parts](int worker, int first, int end) {
    for (int unit = first; unit < end; ++unit) {
      const int sequence = unit / (parts + 1), part = unit % (parts + 1);
      if (part == parts) {
        convolution_.save(convolution_of(block), step_.batch().sequences[sequence],
                          {0, block.channels()});
      } else {
        advance(block, worker, sequence, part / (block.value_dim / columns),
                part % (block.value_dim / columns));
      }
    }
  };
  step_.add({.units = [sequences, parts] { return sequences() * (parts + 1); }, .run = run});
  step_.add_rows(to, [this, &block, &to](int, int row) { finish(block, to, row); });
  step_.add_products(
      {{.linear = &block.output, .stream = &to, .input = &gated_, .out = &step_.y()}});
}

// q, k and v of a row, q and k normed.
void DeltaNetLayers::convolve(const PackedDeltaNet& block, int row) {
  const BatchSequence& sequence = sequence_of(step_.batch(), row);
  const auto window =
      convolution_.window(convolution_of(block), sequence, row - sequence.first_row);
  float* const mixed = mixed_.row(row);
  const VectorOps& ops = step_.ops();
  ops.convolve({.rows = window.data(),
                .weights = block.convolution.data(),
                .stride = block.channels(),
                .kernel = block.kernel,
                .count = block.channels(),
                .silu = true,
                .out = mixed});
  for (int head = 0; head < 2 * block.key_heads; ++head) {
    const RmsNorm& norm = head < block.key_heads ? block.query_norm : block.key_norm;
    float* const at = mixed + head * block.key_dim;
    ops.rms_norm(at, norm.weight.data(), norm.epsilon, block.key_dim, at);
  }
}

// alpha and beta become the factors that they stand for.
void DeltaNetLayers::weigh(const PackedDeltaNet& block, int row) {
  float *const decay = decay_.row(row), *const beta = beta_.row(row);
  for (int head = 0; head < block.value_heads; ++head) {
    decay[head] = std::exp(block.decay[head] * softplus(decay[head] + block.time_bias[head]));
    beta[head] = 1 / (1 + std::exp(-beta[head]));
  }
}

void DeltaNetLayers::advance(const PackedDeltaNet& block, int worker, int sequence, int head,
                             int part) {
  const BatchSequence& of = step_.batch().sequences[sequence];
  const int columns = columns_of(block);
  float* const state = scratch_[worker].data();
  const int keys = block.key_heads * block.key_dim;
  const int value = 2 * keys + head * block.value_dim + part * columns;
  const int key_head = block.key_head_of(head);
  const auto advance_over = [&](int first, int end) {
    const float* const mixed = mixed_.row(first);
    step_.ops().delta_rule({.rows = end - first,
                            .key_dim = block.key_dim,
                            .columns = columns,
                            .query = mixed + key_head * block.key_dim,
                            .key = mixed + keys + key_head * block.key_dim,
                            .value = mixed + value,
                            .stride = mixed_.stride(),
                            .decay = decay_.row(first) + head,
                            .beta = beta_.row(first) + head,
                            .factor_stride = decay_.stride(),
                            .state = state,
                            .out = heads_out_.row(first) + head * block.value_dim + part * columns,
                            .out_stride = heads_out_.stride()});
  };
  advance_columns(states_,
                  {block.layer, head, part, static_cast<std::size_t>(block.key_dim) * columns}, of,
                  state, advance_over);
}

// Norm, gate and, for the product, quantisation of a row that goes on.
void DeltaNetLayers::finish(const PackedDeltaNet& block, const Stream& to, int row) {
  const VectorOps& ops = step_.ops();
  const int from = to.rows < step_.all().rows ? step_.batch().wanted[row].row : row;
  float *const gate = gate_.row(row), *const out = heads_out_.row(from);
  for (int head = 0; head < block.value_heads; ++head) {
    float* const at = out + head * block.value_dim;
    ops.rms_norm(at, block.norm.weight.data(), block.norm.epsilon, block.value_dim, at);
  }
  ops.silu_gate(gate, out, block.values());
  gated_.put(step_.kernels(), quantized(block.output), row, 0, block.values(), gate);
}

void DeltaNetLayers::reserve(int rows) {
  if (channels_ == 0) return;
  convolution_.reserve(channels_);
  for (AlignedArray<float>& scratch : scratch_) scratch.reserve(state_floats_);
  for (RowBuffer* buffer : {&qkv_, &mixed_}) buffer->reserve(rows, channels_);
  for (RowBuffer* buffer : {&gate_, &heads_out_}) buffer->reserve(rows, values_);
  for (RowBuffer* buffer : {&decay_, &beta_}) buffer->reserve(rows, heads_);
  gated_.reserve(rows, values_);
}

std::size_t DeltaNetLayers::bytes() const {
  std::size_t bytes = gated_.bytes() + convolution_.bytes();
  for (const RowBuffer* buffer : {&qkv_, &mixed_, &gate_, &heads_out_, &decay_, &beta_}) {
    bytes += buffer->bytes();
  }
  for (const AlignedArray<float>& scratch : scratch_) bytes += scratch.bytes();
  return bytes;
}

std::size_t DeltaNetLayers::bytes_for(int rows, int channels, int values, int heads) {
  return 2 * RowBuffer::bytes_for(rows, channels) + 2 * RowBuffer::bytes_for(rows, values) +
         2 * RowBuffer::bytes_for(rows, heads) + InputBuffer::bytes_for(rows, values) +
         ConvolutionRows::bytes_for(channels);
}

}  // namespace mlxd::cpu
