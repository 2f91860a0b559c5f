#pragma once

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
class BlockManager {
 public:
  explicit BlockManager(int blocks);

  int total() const { return static_cast<int>(references_.size()); }
  int available() const { return available_; }
  int used() const { return total() - available_; }

  // Appends `count` fresh blocks; false, with nothing changed, when there are not that many.
  bool allocate(BlockTable& table, int count);
  // `copy` becomes a second owner of all blocks of `table`; it must be empty.
  void share(const BlockTable& table, BlockTable& copy);
  // Gives up the last blocks of the table, so that `blocks` are left at most.
  void shorten(BlockTable& table, int blocks);
  // Gives up every block of the table and empties it.
  void release(BlockTable& table);

  // By several tables; pins do not count.
  bool is_shared(int block) const { return references_[block] - pins_[block] > 1; }
  // Puts a fresh block in the place of a shared one and returns (old, new), whose contents are to
  // be copied. Nullopt when no block is free.
  std::optional<std::pair<int, int>> unshare(BlockTable& table, int index);

  // One more reference to a block that must keep its contents (and the end of it).
  void pin(int block);
  void unpin(int block);

  // Checks that the counts are exactly those of the tables and that every other block is free.
  // Broken: the process ends, naming what broke.
  void check_integrity(std::span<const BlockTable* const> tables) const;

 private:
  void take(int first, int count);  // out of the gap that holds them
  void drop(int block);             // one reference less

  std::vector<int> references_;  // [blocks], pins included
  std::vector<int> pins_;        // [blocks]
  std::map<int, int> gaps_;      // first free block -> how many in a row; no two touch
  int available_;
};

}  // namespace mlxd
