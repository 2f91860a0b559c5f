#include "backend/cpu/head_states.h"

#include <cmath>
#include <cstring>
#include <utility>

namespace mlxd::cpu {
namespace {

// A state's columns do not know each other, so some of a head's, for all of a sequence's rows, are
// one piece of work that stays in the level-1 cache: 16 KiB with 128 dimensions of the key.
int columns_of(const HeadStates::Shape& shape) { return shape.value_dim % 32 == 0 ? 32 : 16; }

ConvolutionRows::Layer convolution_of(const HeadStates::Shape& shape) {
  return {shape.layer, shape.kernel, shape.channels};
}

}  // namespace

float softplus(float x) { return std::max(x, 0.0f) + std::log1p(std::exp(-std::abs(x))); }

HeadStates::HeadStates(StepPhases& step, StateCache& states)
    : step_(step), states_(states), convolution_(states, input), scratch_(step.workers()) {}

void HeadStates::convolve(const Shape& shape, const std::vector<float>& weights,
                          const std::vector<float>& bias, int row) {
  const BatchSequence& sequence = step_.sequence_of(row);
  const auto window =
      convolution_.window(convolution_of(shape), sequence, row - sequence.first_row);
  step_.ops().convolve({.rows = window.data(),
                        .weights = weights.data(),
                        .stride = shape.channels,
                        .bias = bias.empty() ? nullptr : bias.data(),
                        .kernel = shape.kernel,
                        .count = shape.channels,
                        .silu = true,
                        .out = mixed.row(row)});
}

// Behind the columns of all heads of all sequences, the rows that the convolution will see.
void HeadStates::add_advance(const Shape& shape, void (*VectorOps::*rule)(const StateRows&),
                             std::function<HeadRow(int head)> head_row) {
  widths_.include(shape.channels, shape.heads, shape.value_dim);
  state_floats_ = std::max(state_floats_, shape.key_dim * columns_of(shape));
  const int head_parts = shape.value_dim / columns_of(shape), parts = shape.heads * head_parts;
  const auto units = [this, parts] {
    return static_cast<int>(step_.batch().sequences.size()) * (parts + 1);
  };
  const auto run = [this, shape, rule, head_row = std::move(head_row), head_parts, parts](
                       int worker, int first, int end) {
    for (int unit = first; unit < end; ++unit) {
      const BatchSequence& sequence = step_.batch().sequences[unit / (parts + 1)];
      const int part = unit % (parts + 1), head = part / head_parts;
      if (part == parts) {
        convolution_.save(convolution_of(shape), sequence, {0, shape.channels});
      } else {
        advance(shape, step_.ops().*rule, head_row(head), worker, sequence, head,
                part % head_parts);
      }
    }
  };
  step_.add({.units = units, .run = run});
}

// Some columns of a head: into the worker's scratch, on by the rows up to each after which the
// state is saved, and by the rest.
void HeadStates::advance(const Shape& shape, void (*rule)(const StateRows&), const HeadRow& at,
                         int worker, const BatchSequence& sequence, int head, int part) {
  const int columns = columns_of(shape), column = part * columns;
  const std::size_t floats = static_cast<std::size_t>(shape.key_dim) * columns;
  float* const state = scratch_[worker].data();
  const auto stored = [&](int slot) {
    return states_.head(shape.layer, slot, head) + static_cast<std::size_t>(part) * floats;
  };
  if (sequence.state < 0) {
    std::fill_n(state, floats, 0.0f);
  } else {
    std::memcpy(state, stored(sequence.state), floats * sizeof(float));
  }
  const auto advance_over = [&](int first, int end) {
    const float* const row = mixed.row(first);
    rule({.rows = end - first,
          .key_dim = shape.key_dim,
          .columns = columns,
          .query = row + at.query,
          .key = row + at.key,
          .value = row + at.value + column,
          .stride = mixed.stride(),
          .decay = decay.row(first) + head,
          .beta = beta.row(first) + head,
          .factor_stride = decay.stride(),
          .skip = at.skip,
          .state = state,
          .out = out.row(first) + head * shape.value_dim + column,
          .out_stride = out.stride()});
  };
  int row = sequence.first_row;
  for (const StateSave& save : sequence.saves) {
    advance_over(row, save.after_row + 1);
    row = save.after_row + 1;
    std::memcpy(stored(save.slot), state, floats * sizeof(float));
  }
  const int end = sequence.first_row + sequence.query_length;
  if (row < end) advance_over(row, end);
}

void HeadStates::reserve(int rows) {
  if (widths_.channels == 0) return;
  convolution_.reserve(widths_.channels);
  for (AlignedArray<float>& scratch : scratch_) scratch.reserve(state_floats_);
  for (RowBuffer* buffer : {&input, &mixed}) buffer->reserve(rows, widths_.channels);
  for (RowBuffer* buffer : {&gate, &out}) buffer->reserve(rows, widths_.values);
  for (RowBuffer* buffer : {&decay, &beta}) buffer->reserve(rows, widths_.heads);
  gated.reserve(rows, widths_.values, step_.has_unit());
}

std::size_t HeadStates::bytes() const {
  std::size_t bytes = gated.bytes() + convolution_.bytes();
  for (const RowBuffer* buffer : {&input, &mixed, &gate, &out, &decay, &beta}) {
    bytes += buffer->bytes();
  }
  for (const AlignedArray<float>& scratch : scratch_) bytes += scratch.bytes();
  return bytes;
}

std::size_t HeadStates::bytes_for(int rows, const Widths& of) {
  if (of.channels == 0) return 0;
  return 2 * RowBuffer::bytes_for(rows, of.channels) + 2 * RowBuffer::bytes_for(rows, of.values) +
         2 * RowBuffer::bytes_for(rows, of.heads) + InputBuffer::bytes_for(rows, of.values) +
         ConvolutionRows::bytes_for(of.channels);
}

}  // namespace mlxd::cpu
