#include "engine/state_pool.h"

#include <algorithm>

#include "base/check.h"

namespace mlxd {

StatePool::StatePool(int slots) : owners_(slots, 0), kept_(slots, false) {
  place_.reserve(slots);
  free_.reserve(slots);
  for (int slot = 0; slot < slots; ++slot) {
    place_.push_back(not_idle_.insert(not_idle_.end(), slot));
  }
  reset();
}

int StatePool::take() noexcept {
  if (free_.empty()) {
    if (idle_.empty()) return -1;
    const int oldest = idle_.front();
    forget(oldest);
    if (evicted_) evicted_(oldest);
  }
  const int slot = free_.back();
  free_.pop_back();
  owners_[slot] = 1;
  return slot;
}

void StatePool::share(int slot) noexcept {
  check(owners_[slot] > 0 || kept_[slot], "only a slot in use or a kept one gets another owner");
  if (owners_[slot]++ == 0) not_idle_.splice(not_idle_.end(), idle_, place_[slot]);
}

void StatePool::drop(int slot) noexcept {
  check(owners_[slot] > 0, "a slot is given up once by each owner");
  if (--owners_[slot] > 0) return;
  if (kept_[slot]) {
    idle_.splice(idle_.end(), not_idle_, place_[slot]);
  } else {
    free_.push_back(slot);
  }
}

void StatePool::reset() noexcept {
  std::ranges::fill(owners_, 0);
  std::fill(kept_.begin(), kept_.end(), false);
  not_idle_.splice(not_idle_.end(), idle_);
  free_.clear();
  for (int slot = total() - 1; slot >= 0; --slot) free_.push_back(slot);
}

void StatePool::keep(int slot) noexcept {
  check(owners_[slot] > 0, "only a slot in use becomes a kept one");
  kept_[slot] = true;
}

void StatePool::forget(int slot) noexcept {
  check(kept_[slot], "only a kept slot is forgotten");
  kept_[slot] = false;
  if (owners_[slot] > 0) return;
  not_idle_.splice(not_idle_.end(), idle_, place_[slot]);
  free_.push_back(slot);
}

void StatePool::go_first(int slot) noexcept {
  check(kept_[slot], "only a kept slot has a turn");
  if (owners_[slot] == 0) idle_.splice(idle_.begin(), idle_, place_[slot]);
}

void StatePool::check_integrity(std::span<const int> owned) const {
  std::vector<int> expected(owners_.size(), 0);
  for (const int slot : owned) {
    check(slot >= 0 && slot < total(), "an owned slot is of the pool");
    ++expected[slot];
  }
  check(expected == owners_, "the owners of slots are sequences and steps");
  for (const int slot : idle_) {
    check(owners_[slot] == 0 && kept_[slot], "an idle slot is kept and has no owner");
    check(*place_[slot] == slot, "an idle slot knows its place");
  }
  for (const int slot : free_) {
    check(owners_[slot] == 0 && !kept_[slot], "a free slot has no owner and is not kept");
  }
  check(available() == std::ranges::count(owners_, 0), "no slot is lost");
}

}  // namespace mlxd
