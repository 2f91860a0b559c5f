#include "backend/mlx/state_cache.h"

#include "base/check.h"
#include "model/state_layout.h"

namespace mlxd::mlx_backend {

StateCache::StateCache(const ModelPlan& plan) {
  for (const StateShape& shape : state_shapes(plan)) {
    layers_.push_back({{mx::zeros({shape.kernel - 1, shape.channels}, mx::float32),
                        mx::zeros({shape.heads, shape.key_dim, shape.value_dim}, mx::float32)},
                       {}});
  }
}

std::size_t StateCache::slot_bytes() const {
  std::size_t bytes = 0;
  for (const Layer& layer : layers_) {
    bytes += layer.empty.convolution.nbytes() + layer.empty.heads.nbytes();
  }
  return bytes;
}

void StateCache::resize(int slots) {
  for (Layer& layer : layers_) {
    layer.slots.clear();
    layer.slots.resize(slots);
  }
}

const StateCache::State& StateCache::read(int layer, int slot) const {
  const Layer& of = layers_[layer];
  if (slot < 0) return of.empty;
  check(of.slots[slot].has_value(), "a state that is read was saved");
  return *of.slots[slot];
}

void StateCache::save(int layer, int slot, State state) {
  saved_.push_back({layer, slot, std::move(state)});
}

void StateCache::append_to(std::vector<mx::array>& arrays) const {
  for (const Saved& saved : saved_) {
    arrays.push_back(saved.state.convolution);
    arrays.push_back(saved.state.heads);
  }
}

void StateCache::commit() {
  for (Saved& saved : saved_) layers_[saved.layer].slots[saved.slot] = std::move(saved.state);
  saved_.clear();
}

}  // namespace mlxd::mlx_backend
