#include "backend/cpu/feed_forward_layers.h"

#include <algorithm>
#include <span>

namespace mlxd::cpu {
namespace {

// Rows and columns of the hidden layer computed at a time: gate, up and their weights stay in a
// level-2 cache, and are long enough to be read as streams.
constexpr int kGateRows = kPreparedRows;
constexpr int kGateColumns = 256;
// The same of prompt rows on a matrix unit, which expands weights once for all these rows.
constexpr int kPromptGateRows = kPromptRows * PromptScratch::kBlocks;
constexpr int kPromptGateColumns = 128;

std::size_t gate_floats(bool unit) {
  const int floats = kGateRows * kGateColumns;
  return unit ? std::max(floats, kPromptGateRows * kPromptGateColumns) : floats;
}

// Whether a matrix unit can make the hidden layer.
bool suits_unit(const PackedMlp& mlp) {
  return quantized(mlp.up) && (!mlp.gate || quantized(*mlp.gate));
}

auto gate_function(const VectorOps& ops, Activation activation) {
  switch (activation) {
    case Activation::silu:
    case Activation::gelu:
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
    worker.gate.reserve(gate_floats(step.has_unit()));
    worker.up.reserve(gate_floats(step.has_unit()));
  }
}

void FeedForwardLayers::add(const PackedFeedForward& block, const Residual* left,
                            const Stream& stream) {
  step_.add_norm(stream, left, address(block.input_norm), reads(block.mlp, stream));
  add_mlp(block.mlp, stream, step_.y());
}

Reads FeedForwardLayers::reads(const PackedMlp& mlp, const Stream& stream) const {
  const Reads reads = step_.reads(stream, mlp.reads_quantized());
  return reads == Reads::by_role && !suits_unit(mlp) ? Reads::quantized : reads;
}

void FeedForwardLayers::add_mlp(const PackedMlp& mlp, const Stream& stream, const RowBuffer& out,
                                const InputBuffer* input) {
  hidden_columns_ = std::max(hidden_columns_, mlp.up.matrix->rows());
  const int groups = mlp.up.matrix->rows() / kGroupColumns;
  const auto run = [this, &mlp, &stream, input, index = step_.next_phase()](int worker, int first,
                                                                            int end) {
    const InputBuffer& read = input != nullptr ? *input : *stream.input;
    const bool by_role = reads(mlp, stream) == Reads::by_role && !step_.prompt_rows().empty();
    const Range all[] = {{0, stream.rows}};
    for (const Range part : by_role ? step_.generated_runs() : std::span<const Range>(all)) {
      const HiddenRows rows{.mlp = &mlp,
                            .input = read.view(part.first, part.end - part.first),
                            .hidden = &hidden_,
                            .reads = step_.reads(stream, quantized(mlp.down)),
                            .first_row = part.first};
      gate_groups(worker, rows, step_.moment(index), {first, end});
    }
    if (by_role) gate_prompts(worker, mlp, read, {first * kGroupColumns, end * kGroupColumns});
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

std::size_t FeedForwardLayers::worker_bytes(bool unit) {
  return 2 * gate_floats(unit) * sizeof(float);
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
  for (int row = 0; row < row_count; ++row) {
    const float* const hidden = activate(scratch, mlp, row, count);
    step_.put(*of.hidden, of.reads, of.first_row + rows.first + row, columns, hidden);
  }
}

void FeedForwardLayers::gate_prompts(int worker, const PackedMlp& mlp, const InputBuffer& input,
                                     Range columns) {
  const std::span<const int> rows = step_.prompt_rows();
  const auto row_count = static_cast<int>(rows.size());
  const PromptInput prompts = input.prompts(row_count);
  const Reads reads = step_.reads(step_.all(), quantized(mlp.down));
  Worker& scratch = workers_[worker];
  for (int first = columns.first; first < columns.end; first += kPromptGateColumns) {
    const int end = std::min(first + kPromptGateColumns, columns.end), count = end - first;
    for (int row = 0; row < row_count; row += kPromptGateRows) {
      const PromptInput part = prompts.part(row, std::min(row + kPromptGateRows, row_count));
      const auto multiply = [&](const PackedLinear& linear, float* out) {
        step_.multiply_prompts(worker, linear, part, {first / kTileRows, end / kTileRows},
                               {out - first, count});
      };
      if (mlp.gate) multiply(*mlp.gate, scratch.gate.data());
      multiply(mlp.up, scratch.up.data());
      for (int i = 0; i < part.rows; ++i) {
        const float* const hidden = activate(scratch, mlp, i, count);
        step_.put(hidden_, reads, rows[row + i], {first, end}, hidden);
      }
    }
  }
}

// Of a row of `count` columns of gate and up.
float* FeedForwardLayers::activate(const Worker& scratch, const PackedMlp& mlp, int row,
                                   int count) const {
  const VectorOps& ops = step_.ops();
  const auto at = static_cast<std::ptrdiff_t>(row) * count;
  float* hidden = scratch.up.data() + at;
  if (mlp.gate && mlp.activation == Activation::gelu) {
    hidden = scratch.gate.data() + at;
    ops.gelu(hidden, count);
    ops.multiply(hidden, scratch.up.data() + at, count);
  } else if (mlp.gate) {
    hidden = scratch.gate.data() + at;
    gate_function(ops, mlp.activation)(hidden, scratch.up.data() + at, count);
  } else if (mlp.activation == Activation::squared_relu) {
    ops.squared_relu(hidden, count);
  } else {
    ops.gelu(hidden, count);
  }
  return hidden;
}

}  // namespace mlxd::cpu
