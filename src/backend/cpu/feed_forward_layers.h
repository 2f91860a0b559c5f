#pragma once

#include <cstddef>
#include <vector>

#include "backend/cpu/packed_model.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// The feed-forward blocks of a model, and the hidden layer of a step's rows that they share.
class FeedForwardLayers {
 public:
  // `step` must outlive this.
  explicit FeedForwardLayers(StepPhases& step);
  FeedForwardLayers(const FeedForwardLayers&) = delete;  // the phases point into it
  FeedForwardLayers& operator=(const FeedForwardLayers&) = delete;

  void add(const PackedFeedForward& block, const Residual* left, const Stream& stream);

  // Between two steps.
  void reserve(int rows) { hidden_.reserve(rows, hidden_columns_); }
  std::size_t bytes() const;

 private:
  // Scratch memory of one worker.
  struct Worker {
    AlignedArray<float> gate, up;
  };

  void gate_columns(int worker, const PackedFeedForward& block, const Stream& stream, Moment moment,
                    Range rows, Range columns);

  StepPhases& step_;
  int hidden_columns_ = 0;  // of the widest block
  std::vector<Worker> workers_;
  InputBuffer hidden_;  // [rows, F]
};

}  // namespace mlxd::cpu
