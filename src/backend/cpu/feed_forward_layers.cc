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
  step_.add_norm(stream, left, address(block.input_norm),
                 quantized(block.mlp.gate) || quantized(block.mlp.up));
  add_mlp(block.mlp, stream, step_.y());
}

void FeedForwardLayers::add_mlp(const PackedMlp& mlp, const Stream& stream, const RowBuffer& out) {
  hidden_columns_ = std::max(hidden_columns_, mlp.gate.matrix->rows());
  const int groups = mlp.gate.matrix->rows() / kGroupColumns;
  const std::size_t bytes = mlp.gate.matrix->bytes() + mlp.up.matrix->bytes();
  const auto run = [this, &mlp, &stream, index = step_.next_phase()](int worker, int first,
                                                                     int end) {
    const HiddenRows rows{
        .mlp = &mlp, .input = stream.input->view(0, stream.rows), .hidden = &hidden_};
    gate_groups(worker, rows, step_.moment(index), {first, end});
  };
  const auto reads = [&gate = *mlp.gate.matrix](int group) {
    return gate.tile_bytes(group * kGroupColumns / kTileRows);
  };
  step_.add({.units = [&stream, groups] { return stream.rows > 0 ? groups : 0; },
             .run = run,
             .piece = pieces(bytes / groups),
             .reads = reads});
  step_.add_products({{.linear = &mlp.down, .stream = &stream, .input = &hidden_, .out = &out}});
}

std::size_t FeedForwardLayers::bytes() const {
  std::size_t bytes = hidden_.bytes();
  for (const Worker& worker : workers_) bytes += worker.gate.bytes() + worker.up.bytes();
  return bytes;
}

void FeedForwardLayers::gate_groups(int worker, const HiddenRows& rows, Moment moment,
                                    Range groups) {
  for (int group = groups.first; group < groups.end; group += kGateColumns / kGroupColumns) {
    const Range columns = {group * kGroupColumns, std::min(groups.end * kGroupColumns,
                                                           group * kGroupColumns + kGateColumns)};
    for (int row = 0; row < rows.input.rows; row += kGateRows) {
      gate_columns(worker, rows, moment, {row, std::min(row + kGateRows, rows.input.rows)},
                   columns);
    }
  }
}

void FeedForwardLayers::gate_columns(int worker, const HiddenRows& of, Moment moment, Range rows,
                                     Range columns) {
  const Kernels& kernels = step_.kernels();
  const VectorOps& ops = step_.ops();
  Worker& scratch = workers_[worker];
  const int count = columns.end - columns.first, row_count = rows.end - rows.first;
  const Range matrix = {of.first_matrix_row + columns.first, of.first_matrix_row + columns.end};
  const auto multiply = [&](const PackedLinear& linear, float* out) {
    kernels.multiply(*linear.matrix, step_.prepared(worker, *linear.matrix, of.input, moment),
                     rows.first, row_count, matrix.first / kTileRows, matrix.end / kTileRows,
                     out - matrix.first, count);
    if (linear.bias.empty()) return;
    for (int row = 0; row < row_count; ++row) {
      ops.add(out + static_cast<std::ptrdiff_t>(row) * count, &linear.bias[matrix.first], count);
    }
  };
  multiply(of.mlp->gate, scratch.gate.data());
  multiply(of.mlp->up, scratch.up.data());
  const bool silu = of.mlp->activation == Activation::silu;
  const bool quantize = quantized(of.mlp->down);
  for (int row = 0; row < row_count; ++row) {
    float* gate = scratch.gate.data() + static_cast<std::ptrdiff_t>(row) * count;
    const float* up = scratch.up.data() + static_cast<std::ptrdiff_t>(row) * count;
    (silu ? ops.silu_gate : ops.gelu_gate)(gate, up, count);
    const int to = of.first_row + rows.first + row;
    if (quantize) {
      of.hidden->quantize(kernels, to, columns.first, count, gate);
    } else {
      std::copy_n(gate, count, of.hidden->values(to) + columns.first);
    }
  }
}

}  // namespace mlxd::cpu
