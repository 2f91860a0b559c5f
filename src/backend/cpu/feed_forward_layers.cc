#include "backend/cpu/feed_forward_layers.h"

#include <algorithm>

namespace mlxd::cpu {
namespace {

// Rows and columns of the hidden layer computed at a time: gate, up and their weights stay in a
// level-2 cache, and are long enough to be read as streams.
constexpr int kGateRows = kPreparedRows;
constexpr int kGateColumns = 256;

auto gate_function(const VectorOps& ops, Activation activation) {
  switch (activation) {
    case Activation::silu:
    case Activation::squared_relu:
      break;
    case Activation::gelu_tanh:
      return ops.gelu_gate;
    case Activation::clamped_swiglu:
      return ops.clamped_gate;
  }
  return ops.silu_gate;
}

}  // namespace

FeedForwardLayers::FeedForwardLayers(StepPhases& step) : step_(step), workers_(step.workers()) {
  for (Worker& worker : workers_) {
    worker.gate.reserve(kGateRows * kGateColumns);
    worker.up.reserve(kGateRows * kGateColumns);
  }
}

void FeedForwardLayers::add(const PackedFeedForward& block, const Residual* left,
                            const Stream& stream) {
  step_.add_norm(stream, left, address(block.input_norm), block.mlp.reads_quantized());
  add_mlp(block.mlp, stream, step_.y());
}

void FeedForwardLayers::add_mlp(const PackedMlp& mlp, const Stream& stream, const RowBuffer& out,
                                const InputBuffer* input) {
  hidden_columns_ = std::max(hidden_columns_, mlp.up.matrix->rows());
  const int groups = mlp.up.matrix->rows() / kGroupColumns;
  const auto run = [this, &mlp, &stream, input, index = step_.next_phase()](int worker, int first,
                                                                            int end) {
    const InputBuffer& read = input != nullptr ? *input : *stream.input;
    const HiddenRows rows{.mlp = &mlp, .input = read.view(0, stream.rows), .hidden = &hidden_};
    gate_groups(worker, rows, step_.moment(index), {first, end});
  };
  const PackedMatrix& first_read = mlp.gate ? *mlp.gate->matrix : *mlp.up.matrix;
  const auto reads = [&first_read](int group) {
    return first_read.tile_bytes(group * kGroupColumns / kTileRows);
  };
  step_.add({.units = [&stream, groups] { return stream.rows > 0 ? groups : 0; },
             .run = run,
             .piece = pieces(mlp.input_bytes() / groups),
             .reads = reads});
  step_.add_products({{.linear = &mlp.down, .stream = &stream, .input = &hidden_, .out = &out}});
}

std::size_t FeedForwardLayers::bytes() const {
  std::size_t bytes = hidden_.bytes();
  for (const Worker& worker : workers_) bytes += worker.gate.bytes() + worker.up.bytes();
  return bytes;
}

std::size_t FeedForwardLayers::worker_bytes() {
  return std::size_t{2} * kGateRows * kGateColumns * sizeof(float);
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
  const VectorOps& ops = step_.ops();
  const PackedMlp& mlp = *of.mlp;
  Worker& scratch = workers_[worker];
  const int count = columns.end - columns.first, row_count = rows.end - rows.first;
  const Range matrix = {of.first_matrix_row + columns.first, of.first_matrix_row + columns.end};
  const auto multiply = [&](const PackedLinear& linear, float* out) {
    step_.multiply(worker, linear, of.input, moment, rows,
                   {matrix.first / kTileRows, matrix.end / kTileRows}, out - matrix.first, count);
  };
  if (mlp.gate) multiply(*mlp.gate, scratch.gate.data());
  multiply(mlp.up, scratch.up.data());
  const auto gate_by = gate_function(ops, mlp.activation);
  for (int row = 0; row < row_count; ++row) {
    const auto at = static_cast<std::ptrdiff_t>(row) * count;
    float* hidden = scratch.up.data() + at;
    if (mlp.gate) {
      hidden = scratch.gate.data() + at;
      gate_by(hidden, scratch.up.data() + at, count);
    } else if (mlp.activation == Activation::squared_relu) {
      ops.squared_relu(hidden, count);
    } else {
      ops.gelu(hidden, count);
    }
    of.hidden->put(step_.kernels(), quantized(mlp.down), of.first_row + rows.first + row,
                   columns.first, count, hidden);
  }
}

}  // namespace mlxd::cpu
