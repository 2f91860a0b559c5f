#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/state_layout.h"

namespace mlxd::cpu {

// Recurrent states in slots, a slot in one piece:
//
//   [slot][layer] x { rows of the convolution [kernel - 1][channels], the oldest first,
//                     heads [heads][value_dim / columns][key_dim][columns] }
//
// in 32-bit floats; `columns` (head_states.h) of a head are moved on together, so they lie
// together.
class StateCache {
 public:
  explicit StateCache(const std::vector<StateShape>& layers);

  std::size_t slot_bytes() const { return slot_floats_ * sizeof(float); }
  // Room for so many slots, whose contents are lost. Memory is given by the system as it is
  // touched.
  void resize(int slots);

  float* convolution(int layer, int slot) const { return at(slot) + layers_[layer].first; }
  float* head(int layer, int slot, int head) const {
    const Layer& of = layers_[layer];
    return convolution(layer, slot) + of.shape.convolution_floats() +
           static_cast<std::size_t>(head) * of.shape.head_floats();
  }
  // All of a slot.
  std::span<std::byte> bytes(int slot) const {
    return std::as_writable_bytes(std::span(at(slot), slot_floats_));
  }

 private:
  struct Layer {
    StateShape shape;
    std::size_t first = 0;  // float of a slot
  };

  float* at(int slot) const {
    return reinterpret_cast<float*>(memory_.get()) + static_cast<std::size_t>(slot) * slot_floats_;
  }

  std::vector<Layer> layers_;
  std::size_t slot_floats_ = 0;
  std::shared_ptr<std::uint8_t> memory_;
};

}  // namespace mlxd::cpu
