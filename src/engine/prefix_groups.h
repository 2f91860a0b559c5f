#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/block_pools.h"
#include "engine/prefix_cache.h"

namespace mlxd {

// The prefix cache over all KV groups. The tree of prefixes is that of the full group's blocks
// (PrefixCache); on each of them hang the blocks of the same tokens in windowed groups, where they
// are kept. A prefix is found as far as it can be continued: with all its blocks in the full group
// and those of the last window in each windowed one.
//
// When a windowed group's block is evicted its prefix stays, and may be continued where it is
// longer or shorter; when a full group's is, what hangs on it goes too. Needs a full group.
// Inference thread only.
class PrefixGroups : private PrefixCache::Listener {
 public:
  using Listener = PrefixCache::Listener;  // hears of the full group's blocks

  PrefixGroups(BlockPools& pools, int block_size, PrefixCache::Mix mix = PrefixCache::mix_well);
  PrefixGroups(const PrefixGroups&) = delete;
  PrefixGroups& operator=(const PrefixGroups&) = delete;
  ~PrefixGroups() override;

  void set_listener(Listener* listener) { listener_ = listener; }

  // As PrefixCache's, with the tables of all groups.
  BlockTables find(std::uint64_t salt, std::span<const int> tokens) const;
  int enter(std::uint64_t salt, std::span<const int> tokens, BlockTables& tables, int entered);
  void forget(const BlockTables& tables) noexcept { cache_.forget(tables.of(full_)); }
  void clear() noexcept { cache_.clear(); }
  int size() const { return cache_.size(); }
  // Of a block of the full group in the cache.
  std::span<const int> tokens_of(int block) const { return cache_.tokens_of(block); }
  // Of the same tokens in a group; -1: not kept.
  int block_in(int group, int block) const {
    return group == full_ ? block : windowed_[group].beside[block];
  }

  // Broken: the process ends, naming what broke.
  void check_integrity() const;

 private:
  struct Windowed {
    std::vector<int> beside;  // [blocks of the full group]: of this group; -1: none
    std::vector<int> whose;   // [blocks of this group]: of the full group; -1: none
  };

  bool is_windowed(int group) const { return group != full_; }
  void attach(int block, BlockTables& tables, int index);
  void detach(int block) noexcept;

  void on_enter(int block, int parent, std::uint64_t salt, std::span<const int> tokens) override;
  void on_evict(int block) override;
  void on_forget(int block) override;

  BlockPools& pools_;
  const int block_size_;
  const int full_;
  PrefixCache cache_;
  std::vector<Windowed> windowed_;  // by group; of the full one empty
  Listener* listener_ = nullptr;
  // While something is entered.
  BlockTables* entering_ = nullptr;
  int index_ = 0;  // of the block that is entered next, or before it
};

}  // namespace mlxd
