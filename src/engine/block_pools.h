#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "engine/batch.h"
#include "engine/block_manager.h"
#include "engine/cache_plan.h"

namespace mlxd {

// The blocks of one sequence: a table for each KV group. BlockPools and PrefixGroups fill it.
class BlockTables {
 public:
  // Blocks of positions that the sequence has room for. The full pool's table is as long; a
  // windowed one's reaches as far as its rows were planned, with -1 for what was let go.
  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // After its blocks were given up, or the pools were reset.
  void clear() { *this = {}; }

  const BlockTable& of(int group) const { return tables_[group]; }
  int held(int group) const { return static_cast<int>(tables_[group].size()) - let_go_[group]; }
  bool operator==(const BlockTables&) const = default;

 private:
  friend class BlockPools;
  friend class PrefixGroups;

  int size_ = 0;
  std::array<BlockTable, kMaxKvGroups + 1> tables_;  // one more where there are blocks of tokens
  std::array<int, kMaxKvGroups + 1> let_go_{};       // the first so many are -1
};

// A pool of blocks (BlockManager) for each KV group, and what a sequence does in all of them at
// once: every change is made in all groups or in none. Inference thread only.
//
// There is one full pool, whose blocks running sequences compete for; `available` and `allocate`
// are about these. It is that of the KV group which sees all positions; a model without one has
// blocks of tokens alone in its place, behind its groups (CachePlan::token_blocks): no runner hears
// of them, and nothing lies in them, but they are counted, shared and found as others are. In a
// windowed group each running sequence has its reserve
// (CachePlan), so that a decoded row always finds a block there and nobody is preempted for it:
// what sequences hold beyond that, in the midst of a long chunk of a prompt, comes out of the
// surplus that all reserves leave (`rows_with_room`).
//
// Whatever gives blocks up needs no memory.
class BlockPools {
 public:
  // One KV group, which is full, as most models have.
  explicit BlockPools(int blocks);
  BlockPools(std::span<const KvGroup> groups, int block_size, const CachePlan& plan);

  BlockPools(const BlockPools&) = delete;
  BlockPools& operator=(const BlockPools&) = delete;

  int groups() const { return static_cast<int>(pools_.size()); }
  int kv_groups() const { return kv_groups_; }  // the first so many, of which the runner knows
  int window(int group) const { return windows_[group]; }
  bool has_windows() const { return windowed_; }
  int full_group() const { return full_; }
  BlockManager& pool(int group) { return pools_[group]; }
  const BlockManager& pool(int group) const { return pools_[group]; }

  // Of all KV groups.
  int total() const { return sum(&BlockManager::total); }
  int used() const { return sum(&BlockManager::used); }
  int idle() const { return sum(&BlockManager::idle); }
  std::size_t bytes_kept(std::span<const KvGroup> groups) const;  // in blocks used or idle

  // Of the full pool.
  int available() const { return pools_[full_].available(); }
  // Of what PrefixGroups found: the full group's blocks that nobody owns, which `adopt` takes from
  // the available.
  int idle_of(const BlockTables& found) const;

  // Blocks that the tables can be extended by in every group, reserves or not: for what is to be
  // given up again before a step is planned.
  int room(const BlockTables& tables) const;

  // Room for `count` more blocks of positions; false, with nothing changed, when the full group
  // has not that many.
  bool allocate(BlockTables& tables, int count);
  // Of the sequence's next `rows` rows, which begin at `position`, as many as windowed groups have
  // blocks for: one at least.
  int rows_with_room(const BlockTables& tables, int position, int rows) const {
    return windowed_ ? rows_in_windows(tables, position, rows) : rows;
  }
  // Blocks in the windowed groups for all positions before `end`, which have room.
  void cover(BlockTables& tables, int end) {
    if (windowed_) cover_windows(tables, end);
  }

  void share(const BlockTables& tables, BlockTables& copy);
  void shorten(BlockTables& tables, int blocks) noexcept;
  void release(BlockTables& tables) noexcept;
  void reset() noexcept;
  // Gives up, in windowed groups, the blocks wholly before the window of the row at `position`.
  void let_go(BlockTables& tables, int position) noexcept {
    if (windowed_) let_go_windows(tables, position);
  }

  // Copy-on-write of the blocks at `index`: in those groups where they are shared, fresh ones take
  // their place. Appends the copies that are due in KV groups, whose sources are pinned until
  // `copied`. False,
  // with nothing changed, when no block is free.
  bool is_shared(const BlockTables& tables, int index) const {
    if (windowed_) return is_shared_in_any(tables, index);
    return pools_[full_].is_shared(tables.tables_[full_][index]);
  }
  bool unshare(BlockTables& tables, int index, std::vector<BlockCopy>& copies);
  void copied(const BlockCopy& copy) { pools_[copy.group].unpin(copy.from); }

  // As one more owner of what PrefixGroups found; `tables` is empty.
  void adopt(BlockTables& tables, const BlockTables& found);

  // Checks each pool against the sequences' tables and the sources of copies that are due.
  void check_integrity(std::span<const BlockTables* const> tables,
                       std::span<const BlockCopy> copies = {}) const;

 private:
  void add_full(int blocks);
  bool is_shared_in_any(const BlockTables& tables, int index) const;
  int rows_in_windows(const BlockTables& tables, int position, int rows) const;
  void cover_windows(BlockTables& tables, int end);
  void let_go_windows(BlockTables& tables, int position) noexcept;
  int sum(int (BlockManager::*figure)() const) const;
  bool shared_at(const BlockTables& tables, int group, int index) const;
  int excess(const BlockTables& tables, int group) const {
    return std::max(tables.held(group) - reserve_[group], 0);
  }

  int block_size_ = 1;
  int kv_groups_ = 0;
  int full_ = -1;          // only while there are no pools
  bool windowed_ = false;  // some group is
  std::vector<BlockManager> pools_;
  std::vector<int> windows_;  // 0: full
  std::vector<int> reserve_;  // by group; of a full one 0
  std::vector<int> surplus_;  // of windowed groups: beyond all reserves
  std::vector<int> excess_;   // of these, what sequences hold
};

}  // namespace mlxd
