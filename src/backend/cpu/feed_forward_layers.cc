#include "backend/cpu/feed_forward_layers.h"

#include <algorithm>

namespace mlxd::cpu {
namespace {

// Rows and columns of the hidden layer computed at a time: gate, up and their weights stay in a
// level-2 cache, and are long enough to be read as streams.
constexpr int kGateRows = kPreparedRows;
constexpr int kGateColumns = 256;

}  // namespace

FeedForwardLayers::FeedForwardLayers(StepPhases& step) : step_(step), workers_(step.workers()) {
  for (Worker& worker : workers_) {
    worker.gate.reserve(kGateRows * kGateColumns);
    worker.up.reserve(kGateRows * kGateColumns);
  }
}

void FeedForwardLayers::add(const PackedFeedForward& block, const Residual* left,
                            const Stream& stream) {
  hidden_columns_ = std::max(hidden_columns_, block.gate.matrix->rows());
  step_.add_norm(stream, left, address(block.input_norm),
                 quantized(block.gate) || quantized(block.up));
  const int groups = block.gate.matrix->rows() / kGroupColumns;
  const std::size_t bytes = block.gate.matrix->bytes() + block.up.matrix->bytes();
  const auto run = [this, &block, &stream, index = step_.next_phase()](int worker, int first,
                                                                       int end) {
    for (int group = first; group < end; group += kGateColumns / kGroupColumns) {
      const Range columns = {group * kGroupColumns,
                             std::min(end * kGroupColumns, group * kGroupColumns + kGateColumns)};
      for (int row = 0; row < stream.rows; row += kGateRows) {
        gate_columns(worker, block, stream, step_.moment(index),
                     {row, std::min(row + kGateRows, stream.rows)}, columns);
      }
    }
  };
  const auto reads = [&gate = *block.gate.matrix](int group) {
    return gate.tile_bytes(group * kGroupColumns / kTileRows);
  };
  step_.add({.units = [&stream, groups] { return stream.rows > 0 ? groups : 0; },
             .run = run,
             .piece = pieces(bytes / groups),
             .reads = reads});
  step_.add_products(
      {{.linear = &block.down, .stream = &stream, .input = &hidden_, .out = &step_.y()}});
}

std::size_t FeedForwardLayers::bytes() const {
  std::size_t bytes = hidden_.bytes();
  for (const Worker& worker : workers_) bytes += worker.gate.bytes() + worker.up.bytes();
  return bytes;
}

// hidden = activation(gate) * up for some rows and whole groups of columns.
void FeedForwardLayers::gate_columns(int worker, const PackedFeedForward& block,
                                     const Stream& stream, Moment moment, Range rows,
                                     Range columns) {
  const Kernels& kernels = step_.kernels();
  const VectorOps& ops = step_.ops();
  Worker& scratch = workers_[worker];
  const InputRows input = stream.input->view(0, stream.rows);
  const int count = columns.end - columns.first, row_count = rows.end - rows.first;
  const auto multiply = [&](const PackedLinear& linear, float* out) {
    kernels.multiply(*linear.matrix, step_.prepared(worker, *linear.matrix, input, moment),
                     rows.first, row_count, columns.first / kTileRows, columns.end / kTileRows,
                     out - columns.first, count);
    if (linear.bias.empty()) return;
    for (int row = 0; row < row_count; ++row) {
      ops.add(out + static_cast<std::ptrdiff_t>(row) * count, &linear.bias[columns.first], count);
    }
  };
  multiply(block.gate, scratch.gate.data());
  multiply(block.up, scratch.up.data());
  const bool silu = block.activation == Activation::silu;
  const bool quantize = quantized(block.down);
  for (int row = 0; row < row_count; ++row) {
    float* gate = scratch.gate.data() + static_cast<std::ptrdiff_t>(row) * count;
    const float* up = scratch.up.data() + static_cast<std::ptrdiff_t>(row) * count;
    (silu ? ops.silu_gate : ops.gelu_gate)(gate, up, count);
    const int to = rows.first + row;
    if (quantize) {
      hidden_.quantize(kernels, to, columns.first, count, gate);
    } else {
      std::copy_n(gate, count, hidden_.values(to) + columns.first);
    }
  }
}

}  // namespace mlxd::cpu
