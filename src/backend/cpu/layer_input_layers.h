#pragma once

#include <cstddef>
#include <vector>

#include "backend/cpu/packed_model.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/step_phases.h"

namespace mlxd::cpu {

// What the layers of a model learn of a row's token beside the residual stream (LayerInputs), and
// the blocks that read it.
class LayerInputLayers {
 public:
  // Both must outlive this.
  LayerInputLayers(const PackedModel& model, StepPhases& step);
  LayerInputLayers(const LayerInputLayers&) = delete;  // the phases point into it
  LayerInputLayers& operator=(const LayerInputLayers&) = delete;

  // The phases that make the inputs of all layers from the embedded tokens; nothing for a model
  // without.
  void add_inputs();
  void add(const PackedLayerInput& block, const Residual* left, const Stream& stream);

  // Between two steps.
  void reserve(int rows);
  std::size_t bytes() const;
  // What `reserve` takes, and of each worker besides.
  static std::size_t bytes_for(int rows, int layers, int size);

 private:
  void make_inputs(int worker, int row);

  const PackedModel& model_;
  StepPhases& step_;
  RowBuffer inputs_;  // [rows, layers P]
  RowBuffer gate_;    // [rows, P]
  InputBuffer gated_;
  std::vector<std::vector<float>> table_rows_;  // by worker: [layers P]
};

}  // namespace mlxd::cpu
