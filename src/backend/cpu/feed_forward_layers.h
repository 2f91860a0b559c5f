#pragma once

#include <cstddef>
#include <vector>

#include "backend/cpu/packed_model.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// Rows of a hidden layer that are computed together, from as many rows of its input.
struct HiddenRows {
  const PackedMlp* mlp = nullptr;
  int first_matrix_row =
      0;  // of gate and up, whose rows from here on are the hidden layer's columns
  InputRows input;
  const InputBuffer* hidden = nullptr;
  Reads reads = Reads::values;  // how mlp->down reads `hidden`
  int first_row = 0;            // of `hidden`: where the input's first goes
};

// The feed-forward blocks of a model, and the hidden layer of a step's rows that they share.
class FeedForwardLayers {
 public:
  // `step` must outlive this.
  explicit FeedForwardLayers(StepPhases& step);
  FeedForwardLayers(const FeedForwardLayers&) = delete;  // the phases point into it
  FeedForwardLayers& operator=(const FeedForwardLayers&) = delete;

  void add(const PackedFeedForward& block, const Residual* left, const Stream& stream);
  // out = mlp(the stream's normed rows), or of as many rows of another input.
  void add_mlp(const PackedMlp& mlp, const Stream& stream, const RowBuffer& out,
               const InputBuffer* input = nullptr);

  // Between two steps.
  void reserve(int rows) { hidden_.reserve(rows, hidden_columns_, step_.has_unit()); }
  std::size_t bytes() const;
  // Of that, what each worker has.
  static std::size_t worker_bytes(bool unit);

  // How a block of the stream reads its input.
  Reads reads(const PackedMlp& mlp, const Stream& stream) const;

  // On a worker, within a phase: hidden = activation(gate) * up for whole groups of columns.
  void gate_groups(int worker, const HiddenRows& rows, Moment moment, Range groups);

 private:
  // Scratch memory of one worker.
  struct Worker {
    AlignedArray<float> gate, up;
  };

  void gate_columns(int worker, const HiddenRows& of, Moment moment, Range rows, Range columns);
  // The same of the step's prompt rows, on the unit.
  void gate_prompts(int worker, const PackedMlp& mlp, const InputBuffer& input, Range columns);
  float* activate(const Worker& scratch, const PackedMlp& mlp, int row, int count) const;

  StepPhases& step_;
  int hidden_columns_ = 0;  // of the widest block
  std::vector<Worker> workers_;
  InputBuffer hidden_;  // [rows, F]
};

}  // namespace mlxd::cpu
