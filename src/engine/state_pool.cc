#include "engine/state_pool.h"

#include <algorithm>

#include "base/check.h"

namespace mlxd {

StatePool::StatePool(int slots) : owners_(slots, 0), kept_(slots, false), held_(slots, false) {
  place_.reserve(slots);
  free_.reserve(slots);
  for (int slot = 0; slot < slots; ++slot) {
    place_.push_back(not_idle_.insert(not_idle_.end(), slot));
  }
  reset();
}

int StatePool::take() noexcept {
  if (free_.empty()) {
    if (idle() == 0) return -1;
    const int oldest = idle_.empty() ? idle_held_.front() : idle_.front();
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
  if (owners_[slot]++ == 0) not_idle_.splice(not_idle_.end(), idle_list(slot), place_[slot]);
}

void StatePool::drop(int slot) noexcept {
  check(owners_[slot] > 0, "a slot is given up once by each owner");
  if (--owners_[slot] > 0) return;
  if (kept_[slot]) {
    std::list<int>& idle = idle_list(slot);
    idle.splice(idle.end(), not_idle_, place_[slot]);
  } else {
    free_.push_back(slot);
  }
}

void StatePool::reset() noexcept {
  std::ranges::fill(owners_, 0);
  std::fill(kept_.begin(), kept_.end(), false);
  std::fill(held_.begin(), held_.end(), false);
  held_count_ = 0;
  not_idle_.splice(not_idle_.end(), idle_);
  not_idle_.splice(not_idle_.end(), idle_held_);
  free_.clear();
  for (int slot = total() - 1; slot >= 0; --slot) free_.push_back(slot);
}

void StatePool::keep(int slot) noexcept {
  check(owners_[slot] > 0, "only a slot in use becomes a kept one");
  kept_[slot] = true;
}

void StatePool::forget(int slot) noexcept {
  check(kept_[slot], "only a kept slot is forgotten");
  end_hold(slot);
  kept_[slot] = false;
  if (owners_[slot] > 0) return;
  not_idle_.splice(not_idle_.end(), idle_, place_[slot]);
  free_.push_back(slot);
}

void StatePool::hold(int slot) noexcept {
  check(kept_[slot], "only a kept slot is held");
  if (held_[slot]) return;
  if (owners_[slot] == 0) idle_held_.splice(idle_held_.end(), idle_, place_[slot]);
  held_[slot] = true;
  ++held_count_;
}

void StatePool::end_hold(int slot) noexcept {
  if (!held_[slot]) return;
  if (owners_[slot] == 0) idle_.splice(idle_.end(), idle_held_, place_[slot]);
  held_[slot] = false;
  --held_count_;
}

void StatePool::go_first(int slot) noexcept {
  check(kept_[slot], "only a kept slot has a turn");
  end_hold(slot);
  if (owners_[slot] == 0) idle_.splice(idle_.begin(), idle_, place_[slot]);
}

void StatePool::check_integrity(std::span<const int> owned) const {
  std::vector<int> expected(owners_.size(), 0);
  for (const int slot : owned) {
    check(slot >= 0 && slot < total(), "an owned slot is of the pool");
    ++expected[slot];
  }
  check(expected == owners_, "the owners of slots are sequences and steps");
  for (const auto* idle : {&idle_, &idle_held_}) {
    for (const int slot : *idle) {
      check(owners_[slot] == 0 && kept_[slot], "an idle slot is kept and has no owner");
      check(held_[slot] == (idle == &idle_held_), "held slots idle by themselves");
      check(*place_[slot] == slot, "an idle slot knows its place");
    }
  }
  check(held_count_ == std::ranges::count(held_, true), "what is held is counted");
  for (const int slot : free_) {
    check(owners_[slot] == 0 && !kept_[slot], "a free slot has no owner and is not kept");
  }
  check(available() == std::ranges::count(owners_, 0), "no slot is lost");
}

}  // namespace mlxd
