#pragma once

#include <vector>

#include "backend/cuda/delta_net_kernels.h"
#include "backend/cuda/device.h"
#include "model/state_layout.h"

namespace mlxd::cuda_backend {

// Recurrent states in slots, a slot in one piece: of each layer what LayerStates says, in 32-bit
// floats. Inference thread.
class StateSlots {
 public:
  explicit StateSlots(const std::vector<StateShape>& layers);

  std::size_t slot_bytes() const { return slot_floats_ * sizeof(float); }
  LayerStates layer(int layer) const;
  void resize(int slots);  // what they held is lost

 private:
  std::vector<std::size_t> firsts_;  // floats of a slot before each layer's
  std::size_t slot_floats_ = 0;
  Buffer memory_;
};

}  // namespace mlxd::cuda_backend
