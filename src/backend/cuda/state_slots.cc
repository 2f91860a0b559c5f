#include "backend/cuda/state_slots.h"

namespace mlxd::cuda_backend {

StateSlots::StateSlots(const std::vector<StateShape>& layers) {
  for (const StateShape& shape : layers) {
    firsts_.push_back(slot_floats_);
    slot_floats_ += shape.floats();
  }
}

LayerStates StateSlots::layer(int layer) const {
  const std::size_t first = firsts_[static_cast<std::size_t>(layer)];
  return {memory_.as<float>(first * sizeof(float)), slot_floats_};
}

void StateSlots::resize(int slots) {
  memory_.free();
  memory_.reserve(static_cast<std::size_t>(slots) * slot_bytes());
}

}  // namespace mlxd::cuda_backend
