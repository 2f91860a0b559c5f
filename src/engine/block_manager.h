#pragma once

#include <functional>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace mlxd {

// The blocks in which a sequence's tokens lie: position p is in table[p / block_size].
using BlockTable = std::vector<int>;

// Hands out the KV pool's blocks, counts who refers to them, and keeps writers apart. It knows ids
// alone, never what a block holds. Inference thread only.
//
// A table grows by consecutive ids where it can, so that a backend may read a slice instead of
// gathering: fresh tables start in the middle of the largest gap, which leaves their neighbour
// room.
//
// A block may be marked as worth keeping (by PrefixCache). When its last owner lets go it is then
// idle instead of free: it counts as available and keeps its contents until its place is needed.
// Idle blocks are evicted in the order in which they were let go, a table's last block before its
// first. Some of them may be held: they go after all others, and so never keep anybody from a
// block.
//
// Whatever gives blocks up needs no memory: only what a table's growth takes is allocated.
class BlockManager {
 public:
  explicit BlockManager(int blocks);

  int total() const { return static_cast<int>(references_.size()); }
  int available() const { return available_; }
  int used() const { return total() - available_; }  // by tables and pins
  int idle() const { return static_cast<int>(idle_.size() + idle_held_.size()); }
  bool in_use(int block) const { return references_[block] > 0; }

  // Appends `count` fresh blocks; false, with nothing changed, when there are not that many.
  bool allocate(BlockTable& table, int count);
  // `copy` becomes a second owner of all blocks of `table`; it must be empty.
  void share(const BlockTable& table, BlockTable& copy);
  // One more owner of each block, in use or kept.
  void own(std::span<const int> blocks);
  // Gives up the table's block at `index`; -1 is in its place then.
  void give_up(BlockTable& table, int index) noexcept;
  // Gives up the last blocks of the table, so that `blocks` are left at most.
  void shorten(BlockTable& table, int blocks) noexcept;
  // Gives up every block of the table and empties it.
  void release(BlockTable& table) noexcept;
  // Every block is free, whoever had it; tables are to be emptied, not released.
  void reset() noexcept;

  // By several tables; pins do not count.
  bool is_shared(int block) const { return references_[block] - pins_[block] > 1; }
  // Puts a fresh block in the place of a shared one and returns (old, new), whose contents are to
  // be copied. Nullopt when no block is free.
  std::optional<std::pair<int, int>> unshare(BlockTable& table, int index);

  // One more reference to a block that must keep its contents (and the end of it).
  void pin(int block);
  void unpin(int block);
  bool is_pinned(int block) const { return pins_[block] > 0; }

  // `block` is in use; from now on it is kept.
  void keep(int block);
  // It is kept no longer; an idle one becomes free.
  void forget(int block);
  bool is_kept(int block) const { return kept_[block]; }
  // Appends kept blocks, in use or idle, as one more owner of each.
  void adopt(BlockTable& table, std::span<const int> kept);
  // Gives up the table's block at `index` for a kept one with the same contents.
  void replace(BlockTable& table, int index, int kept);
  // Idle blocks, those that go first in front.
  std::vector<int> idle_blocks() const;

  // A kept block is held from now on: idle, it goes after all that are not.
  void hold(int block) noexcept;
  // It is not; an idle one is then the last of the others to go.
  void end_hold(int block) noexcept;
  bool is_held(int block) const { return held_[block]; }
  int held() const { return held_count_; }
  // Of the idle ones; those that go first in front.
  const std::list<int>& idle_held() const { return idle_held_; }

  // Called with each block that is evicted, which is not kept any more.
  void on_evict(std::function<void(int)> told) { evicted_ = std::move(told); }

  // Checks that the counts are exactly those of the tables and that every other block is free or
  // idle. Broken: the process ends, naming what broke.
  void check_integrity(std::span<const BlockTable* const> tables) const;

 private:
  using Gaps = std::map<int, int>;

  void take(int first, int count);  // out of the gap that holds them
  void drop(int block);             // one reference less
  void own_kept(int block);         // one reference more
  void add_to_gaps(int block);
  void insert_gap(int first, int length);
  Gaps::iterator erase_gap(Gaps::iterator gap);
  void make_idle(int block);
  void end_idling(int block);
  std::list<int>& idle_list(int block) { return held_[block] ? idle_held_ : idle_; }
  void evict_oldest();

  std::vector<int> references_;  // [blocks], pins included
  std::vector<int> pins_;        // [blocks]
  std::vector<bool> kept_;       // [blocks]
  std::vector<bool> held_;       // [blocks]
  int held_count_ = 0;
  Gaps gaps_;                                // first free block -> how many in a row; no two touch
  std::vector<Gaps::node_type> spare_gaps_;  // for as many more as there can ever be
  std::list<int> idle_;                      // kept, without owner: let go longest ago in front
  std::list<int> idle_held_;                 // likewise; these go when there are no others
  std::list<int> not_idle_;                  // all others
  std::vector<std::list<int>::iterator> place_;  // [blocks], in one of the three
  int available_;                                // free and idle
  std::function<void(int)> evicted_;
};

}  // namespace mlxd
