#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
#include "engine/block_pools.h"
#include "engine/prefix_cache.h"
#include "engine/state_pool.h"

namespace mlxd {

// The prefix cache over all KV groups. The tree of prefixes is that of the full group's blocks
// (PrefixCache); on each of them hang the blocks of the same tokens in windowed groups, where they
// are kept. A prefix is found as far as it can be continued: with all its blocks in the full group
// and those of the last window in each windowed one.
//
// Of a model with recurrent states a prefix can be continued only where a snapshot was kept, a slot
// of the StatePool: these hang on blocks as well, with the state at the block's end.
//
// When a windowed group's block or a snapshot is evicted its prefix stays, and may be continued
// where it is longer or shorter; when a full group's is, what hangs on it goes too. Where no group
// is full, blocks of tokens alone stand in its place (BlockPools). Inference thread only.
class PrefixGroups : private PrefixCache::Listener {
 public:
  // Hears of the full group's blocks, and of the states that hang on them.
  class Listener : public PrefixCache::Listener {
   public:
    // A state is kept after the block.
    virtual void on_keep_state(int block) = 0;
    // It will be of use for long: others may begin with what it is the state of.
    virtual void on_lasting_state(int block) = 0;
    // It is kept no more, whoever's fault it is. Comes before what becomes of the block.
    virtual void on_lose_state(int block) = 0;
  };

  static constexpr double kHeldShare = 0.5;

  // `states`: null for models without.
  PrefixGroups(BlockPools& pools, int block_size, StatePool* states = nullptr);
  PrefixGroups(const PrefixGroups&) = delete;
  PrefixGroups& operator=(const PrefixGroups&) = delete;
  ~PrefixGroups() override;

  void set_listener(Listener* listener) { listener_ = listener; }

  // As PrefixCache's, with the tables of all groups.
  BlockTables find(std::uint64_t salt, const PrefixTokens& tokens) const {
    return find(salt, tokens, /*with_state=*/states_ != nullptr);
  }
  // Whether or not there is a state to go on from.
  BlockTables find_blocks(std::uint64_t salt, const PrefixTokens& tokens) const {
    return find(salt, tokens, /*with_state=*/false);
  }
  int enter(std::uint64_t salt, const PrefixTokens& tokens, BlockTables& tables, int entered);
  void forget(const BlockTables& tables) noexcept { cache_.forget(tables.of(full_)); }
  void clear() noexcept { cache_.clear(); }
  int size() const { return cache_.size(); }

  // The slot with the state after what was found; -1: nothing was, or there are no states.
  int state_after(const BlockTables& found) const;
  // Keeps the slot, which is in use, as the state after the table's first `blocks` blocks. False:
  // one is kept there already, or they are not in the cache any more.
  bool keep_state(const BlockTables& tables, int blocks, int slot) noexcept;
  // That state, if it is there, will be of use for long.
  void note_lasting(const BlockTables& tables, int blocks) noexcept;
  // The state kept there, if there is one, goes before all others that nobody uses.
  void let_state_go_first(const BlockTables& tables, int blocks) noexcept;
  // Of a block in the cache, the slot with the state after it; -1: none is kept.
  int state_at(int block) const { return snapshots_.after[block]; }
  // A slot that is kept here is not any more.
  void forget_state(int slot) noexcept;

  // Some prefixes are **held** for a time: they are evicted after all that are not, so they outlast
  // other traffic and keep nobody from memory. The first `blocks` blocks of the table, with what is
  // needed to go on from there, for so long from `now` on, or as long as they are held already. At
  // most kHeldShare of each pool is: beyond that what was let go longest ago is held no more.
  void hold(const BlockTables& tables, int blocks, std::chrono::seconds time) noexcept;
  // The time of day; ends the holds that are over.
  void set_now(TimePoint now) noexcept;
  int held() const { return pools_.pool(full_).held(); }  // blocks of the full group

  // Of a block of the full group in the cache.
  std::span<const int> words_of(int block) const { return cache_.words_of(block); }
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

  // What hangs on blocks of the full group, by block and the other way round.
  struct Snapshots {
    std::vector<int> after;  // [blocks of the full group]: slot; -1: none
    std::vector<int> whose;  // [slots]: block; -1: none
  };

  BlockTables find(std::uint64_t salt, const PrefixTokens& tokens, bool with_state) const;
  void lose_state(int slot) noexcept;
  bool is_windowed(int group) const { return group != full_; }
  void hold_beside(const BlockTables& tables, int blocks) noexcept;
  void end_hold(int block) noexcept;
  void attach(int block, BlockTables& tables, int index);
  void detach(int block) noexcept;

  void on_enter(int block, int parent, std::uint64_t salt, std::span<const int> words) override;
  void on_evict(int block) override;
  void on_forget(int block) override;

  BlockPools& pools_;
  const int block_size_;
  const int full_;
  PrefixCache cache_;
  std::vector<Windowed> windowed_;  // by group; of the full one empty
  StatePool* const states_;
  Snapshots snapshots_;
  std::vector<TimePoint> held_until_;  // [blocks of the full group]; of those that are held
  TimePoint now_{};
  Listener* listener_ = nullptr;
  // While something is entered.
  BlockTables* entering_ = nullptr;
  int index_ = 0;  // of the block that is entered next, or before it
};

}  // namespace mlxd
