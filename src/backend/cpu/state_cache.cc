#include "backend/cpu/state_cache.h"

#include "backend/cpu/huge_pages.h"

namespace mlxd::cpu {

StateCache::StateCache(const std::vector<StateShape>& layers) {
  for (const StateShape& shape : layers) {
    layers_.push_back({shape, slot_floats_});
    slot_floats_ += shape.floats();
  }
}

void StateCache::resize(int slots) {
  memory_.reset();
  if (slot_floats_ == 0) return;
  memory_ = allocate_huge(static_cast<std::size_t>(slots) * slot_bytes() + 64);
}

}  // namespace mlxd::cpu
