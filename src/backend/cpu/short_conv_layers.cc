#include "backend/cpu/short_conv_layers.h"

#include <algorithm>

namespace mlxd::cpu {
namespace {

// Channels of a piece of work: whole groups, so that it can quantise them, and few enough that many
// workers find something to do.
constexpr int kChannels = 2 * kGroupColumns;

}  // namespace

ShortConvLayers::ShortConvLayers(StepPhases& step, StateCache& states)
    : step_(step), convolution_(states, value_) {}

void ShortConvLayers::add(const PackedShortConv& block, const Residual* left, bool last) {
  channels_ = std::max(channels_, block.channels);
  const Stream& all = step_.all();
  const Stream& to = last ? step_.last() : all;
  step_.add_norm(all, left, address(block.input_norm),
                 step_.reads(all, quantized(block.inner_gate) || quantized(block.outer_gate) ||
                                      quantized(block.value)),
                 last);
  step_.add_products({{.linear = &block.inner_gate, .stream = &all, .out = &inner_gate_},
                      {.linear = &block.value, .stream = &all, .out = &value_},
                      {.linear = &block.outer_gate, .stream = &to, .out = &outer_gate_}});
  const int parts = (block.channels + kChannels - 1) / kChannels;
  const auto units = [this, parts] {
    return static_cast<int>(step_.batch().sequences.size()) * parts;
  };
  const auto run = [this, &block, &to, parts](int, int first, int end) {
    for (int unit = first; unit < end; ++unit) {
      const int channel = unit % parts * kChannels;
      mix(block, to, step_.batch().sequences[unit / parts],
          {channel, std::min(channel + kChannels, block.channels)});
    }
  };
  step_.add({.units = units, .run = run});
  step_.add_products(
      {{.linear = &block.output, .stream = &to, .input = &mixed_, .out = &step_.y()}});
}

// Rows ascend, so that a row finds those before it gated.
void ShortConvLayers::mix(const PackedShortConv& block, const Stream& to,
                          const BatchSequence& sequence, Range channels) {
  const VectorOps& ops = step_.ops();
  const ConvolutionRows::Layer layer = {block.layer, block.kernel, block.channels};
  const int first = channels.first, count = channels.end - first;
  const bool narrows = to.rows < step_.all().rows;
  const Reads reads = step_.reads(to, quantized(block.output));
  float mixed[kChannels];
  for (int i = 0; i < sequence.query_length; ++i) {
    const int row = sequence.first_row + i;
    ops.multiply(value_.row(row) + first, inner_gate_.row(row) + first, count);
    const int into = narrows ? step_.narrow_index()[row] : row;
    if (into < 0) continue;
    const auto window = convolution_.window(layer, sequence, i, first);
    ops.convolve({.rows = window.data(),
                  .weights = block.convolution.data() + first,
                  .stride = block.channels,
                  .bias = block.bias.empty() ? nullptr : block.bias.data() + first,
                  .kernel = block.kernel,
                  .count = count,
                  .out = mixed});
    ops.multiply(mixed, outer_gate_.row(into) + first, count);
    step_.put(mixed_, reads, into, channels, mixed);
  }
  convolution_.save(layer, sequence, channels);
}

void ShortConvLayers::reserve(int rows) {
  if (channels_ == 0) return;
  convolution_.reserve(channels_);
  for (RowBuffer* buffer : {&value_, &inner_gate_, &outer_gate_}) {
    buffer->reserve(rows, channels_);
  }
  mixed_.reserve(rows, channels_, step_.has_unit());
}

std::size_t ShortConvLayers::bytes() const {
  return value_.bytes() + inner_gate_.bytes() + outer_gate_.bytes() + mixed_.bytes() +
         convolution_.bytes();
}

std::size_t ShortConvLayers::bytes_for(int rows, int channels) {
  return 3 * RowBuffer::bytes_for(rows, channels) + InputBuffer::bytes_for(rows, channels) +
         ConvolutionRows::bytes_for(channels);
}

}  // namespace mlxd::cpu
