#pragma once

#include <functional>
#include <list>
#include <span>
#include <vector>

namespace mlxd {

// Hands out the slots in which recurrent states lie, and counts who refers to each. As BlockManager
// for blocks of KV it knows ids alone. Inference thread only.
//
// A slot may be marked as worth keeping (by PrefixGroups): when its last owner lets go, it is idle
// instead of free. It counts as available and keeps its contents until its place is needed; the one
// that was let go longest ago goes first, but those that are held after all others.
//
// Only the constructor needs memory.
class StatePool {
 public:
  explicit StatePool(int slots);

  int total() const { return static_cast<int>(owners_.size()); }
  int available() const { return static_cast<int>(free_.size()) + idle(); }
  int used() const { return total() - available(); }
  int idle() const { return static_cast<int>(idle_.size() + idle_held_.size()); }
  int owners(int slot) const { return owners_[slot]; }

  // A slot with one owner, which holds anything; -1 when all have owners. What was kept longest
  // goes for it when none is free.
  int take() noexcept;
  // One more owner of a slot in use, or of a kept one.
  void share(int slot) noexcept;
  // One owner less.
  void drop(int slot) noexcept;
  // Every slot is free, whoever had it.
  void reset() noexcept;

  // The slot is in use; from now on it is kept.
  void keep(int slot) noexcept;
  // It is kept no longer; an idle one becomes free.
  void forget(int slot) noexcept;
  bool is_kept(int slot) const { return kept_[slot]; }
  // A kept slot is held from now on, or not any more, as BlockManager's.
  void hold(int slot) noexcept;
  void end_hold(int slot) noexcept;
  int held() const { return held_count_; }
  // It is kept, and goes before all others that are idle now; it is not held.
  void go_first(int slot) noexcept;
  // Called with each slot that is evicted, which is not kept any more. Must not throw.
  void on_evict(std::function<void(int)> told) { evicted_ = std::move(told); }

  // Checks that the counts are those of `owned`, which names a slot once for each owner. Broken:
  // the process ends, naming what broke.
  void check_integrity(std::span<const int> owned) const;

 private:
  std::list<int>& idle_list(int slot) { return held_[slot] ? idle_held_ : idle_; }

  std::vector<int> owners_;        // [slots]
  std::vector<bool> kept_, held_;  // [slots]
  int held_count_ = 0;
  std::vector<int> free_;                        // the last goes first
  std::list<int> idle_;                          // kept, without owner: let go longest ago in front
  std::list<int> idle_held_;                     // likewise; these go when there are no others
  std::list<int> not_idle_;                      // all others
  std::vector<std::list<int>::iterator> place_;  // [slots], in one of the three
  std::function<void(int)> evicted_;
};

}  // namespace mlxd
