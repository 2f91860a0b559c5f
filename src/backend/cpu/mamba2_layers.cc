#include "backend/cpu/mamba2_layers.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/state_columns.h"

namespace mlxd::cpu {
namespace {

ConvolutionRows::Layer convolution_of(const PackedMamba2& block) {
  return {block.layer, block.kernel, block.channels()};
}

}  // namespace

Mamba2Layers::Mamba2Layers(StepPhases& step, StateCache& states)
    : step_(step), states_(states), convolution_(states, input_), scratch_(step.workers()) {}

void Mamba2Layers::add(const PackedMamba2& block, const Residual* left, bool last) {
  const int columns = state_columns(block.head_dim);
  channels_ = std::max(channels_, block.channels());
  values_ = std::max(values_, block.values());
  heads_ = std::max(heads_, block.heads);
  state_floats_ = std::max(state_floats_, block.state_size * columns);
  const Stream& all = step_.all();
  const Stream& to = last ? step_.last() : all;
  step_.add_norm(all, left, address(block.input_norm),
                 quantized(block.input) || quantized(block.gate) || quantized(block.time), last);
  step_.add_products({{.linear = &block.input, .stream = &all, .out = &input_},
                      {.linear = &block.time, .stream = &all, .out = &time_},
                      {.linear = &block.gate, .stream = &to, .out = &gate_}});
  step_.add_rows(all, [this, &block](int, int row) {
    convolve(block, row);
    weigh(block, row);
  });
  // Behind the columns of all heads of all sequences, the rows that the convolution will see.
  const int head_parts = block.head_dim / columns, parts = block.heads * head_parts;
  const auto sequences = [this] { return static_cast<int>(step_.batch().sequences.size()); };
  const auto run = [this, &block, head_parts, parts](int worker, int first, int end) {
    for (int unit = first; unit < end; ++unit) {
      const BatchSequence& sequence = step_.batch().sequences[unit / (parts + 1)];
      const int part = unit % (parts + 1);
      if (part == parts) {
        convolution_.save(convolution_of(block), sequence, {0, block.channels()});
      } else {
        advance(block, worker, sequence, part / head_parts, part % head_parts);
      }
    }
  };
  step_.add({.units = [sequences, parts] { return sequences() * (parts + 1); }, .run = run});
  step_.add_rows(to, [this, &block, &to](int, int row) { finish(block, to, row); });
  step_.add_products(
      {{.linear = &block.output, .stream = &to, .input = &gated_, .out = &step_.y()}});
}

void Mamba2Layers::convolve(const PackedMamba2& block, int row) {
  const BatchSequence& sequence = sequence_of(step_.batch(), row);
  const auto window =
      convolution_.window(convolution_of(block), sequence, row - sequence.first_row);
  step_.ops().convolve({.rows = window.data(),
                        .weights = block.convolution.data(),
                        .stride = block.channels(),
                        .bias = block.bias.empty() ? nullptr : block.bias.data(),
                        .kernel = block.kernel,
                        .count = block.channels(),
                        .silu = true,
                        .out = mixed_.row(row)});
}

// The time of each head, and what it leaves of the state.
void Mamba2Layers::weigh(const PackedMamba2& block, int row) {
  float *const time = time_.row(row), *const decay = decay_.row(row);
  for (int head = 0; head < block.heads; ++head) {
    const float step = softplus(time[head] + block.time_bias[head]);
    time[head] = std::clamp(step, block.least_time, block.most_time);
    decay[head] = std::exp(block.decay[head] * time[head]);
  }
}

void Mamba2Layers::advance(const PackedMamba2& block, int worker, const BatchSequence& sequence,
                           int head, int part) {
  const int columns = state_columns(block.head_dim);
  const int value = head * block.head_dim + part * columns;
  const int key = block.values() + head / (block.heads / block.groups) * block.state_size;
  float* const state = scratch_[worker].data();
  const auto advance_over = [&](int first, int end) {
    const float* const mixed = mixed_.row(first);
    step_.ops().scan({.rows = end - first,
                      .key_dim = block.state_size,
                      .columns = columns,
                      .query = mixed + key + block.groups * block.state_size,
                      .key = mixed + key,
                      .value = mixed + value,
                      .stride = mixed_.stride(),
                      .decay = decay_.row(first) + head,
                      .beta = time_.row(first) + head,
                      .factor_stride = decay_.stride(),
                      .skip = block.skip[head],
                      .state = state,
                      .out = heads_out_.row(first) + value,
                      .out_stride = heads_out_.stride()});
  };
  advance_columns(states_,
                  {block.layer, head, part, static_cast<std::size_t>(block.state_size) * columns},
                  sequence, state, advance_over);
}

// Gate, norm and, for the product, quantisation of a row that goes on.
void Mamba2Layers::finish(const PackedMamba2& block, const Stream& to, int row) {
  const VectorOps& ops = step_.ops();
  float* const gate = gate_.row(row);
  ops.silu_gate(gate, heads_out_.row(step_.batch_row(to, row)), block.values());
  const int size = block.values() / block.norm_groups;
  for (int group = 0; group < block.norm_groups; ++group) {
    float* const at = gate + group * size;
    ops.rms_norm(at, block.norm.weight.data() + group * size, block.norm.epsilon, size, at);
  }
  gated_.put(step_.kernels(), quantized(block.output), row, 0, block.values(), gate);
}

void Mamba2Layers::reserve(int rows) {
  if (channels_ == 0) return;
  convolution_.reserve(channels_);
  for (AlignedArray<float>& scratch : scratch_) scratch.reserve(state_floats_);
  for (RowBuffer* buffer : {&input_, &mixed_}) buffer->reserve(rows, channels_);
  for (RowBuffer* buffer : {&gate_, &heads_out_}) buffer->reserve(rows, values_);
  for (RowBuffer* buffer : {&time_, &decay_}) buffer->reserve(rows, heads_);
  gated_.reserve(rows, values_);
}

std::size_t Mamba2Layers::bytes() const {
  std::size_t bytes = gated_.bytes() + convolution_.bytes();
  for (const RowBuffer* buffer : {&input_, &mixed_, &gate_, &heads_out_, &time_, &decay_}) {
    bytes += buffer->bytes();
  }
  for (const AlignedArray<float>& scratch : scratch_) bytes += scratch.bytes();
  return bytes;
}

std::size_t Mamba2Layers::bytes_for(int rows, int channels, int values, int heads) {
  return 2 * RowBuffer::bytes_for(rows, channels) + 2 * RowBuffer::bytes_for(rows, values) +
         2 * RowBuffer::bytes_for(rows, heads) + InputBuffer::bytes_for(rows, values) +
         ConvolutionRows::bytes_for(channels);
}

}  // namespace mlxd::cpu
