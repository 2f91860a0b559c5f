#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/block_pools.h"
#include "engine/model_runner.h"
#include "engine/prefix_groups.h"
#include "engine/stored_prefixes.h"

namespace mlxd {

// The inference thread's side of the prefix cache's tier on disk. What the cache enters it copies
// out of the KV cache for the disk's writer; what StoredPrefixes has read it copies into fresh
// blocks and enters, idle, as if a request had computed them and ended. Recurrent states go the
// same way, in pieces: those that will be of use for long, when the writer has room, and into a
// slot. Inference thread only.
class BlockMover : public PrefixGroups::Listener {
 public:
  // All outlive it.
  // `states`: those of a model that has some, of which it may have one for itself; or null.
  BlockMover(StoredPrefixes& prefixes, ModelRunner& runner, BlockPools& blocks, PrefixGroups& cache,
             StatePool* states = nullptr);
  ~BlockMover() override;

  // Enters what was read since the last time, between two steps. Nobody's blocks are taken for it
  // but idle ones; what does not fit, or does not continue the cache any more, is let go.
  void enter_fetched();
  // Copies out more of the states that are on their way to disk, where there are some.
  void go_on();
  bool has_more() const { return !outgoing_.empty(); }

  // The slot that a state is read into; -1: none. It owns it.
  int slot() const { return incoming_.slot; }
  // Everything is free, or about to be: what was being read is let go.
  void reset() noexcept { incoming_ = {}; }

  // Broken: the process ends, naming what broke.
  void check_integrity() const;

 private:
  bool enter(const StoredBlocks& part);
  bool enter_state(const StoredBlocks& part);
  void end_incoming() noexcept;
  bool offer_piece(int block, int piece);
  void drop_outgoing(int block) noexcept;
  void give_name(int block, std::uint64_t salt, std::span<const int> words);
  std::optional<BlockName> take_name(int block);
  void offer(int block);
  bool offer_one(int block);
  void import_blocks(const BlockTables& tables, int index, std::span<const std::byte> contents);
  bool has_all_groups(int block) const;
  void export_blocks(int block, std::span<std::byte> contents) const;

  void on_enter(int block, int parent, std::uint64_t salt, std::span<const int> words) override;
  void on_evict(int block) override;
  void on_forget(int block) override;
  void on_keep_state(int block) override;
  void on_lasting_state(int block) override;
  void on_lose_state(int block) override;

  // Where a block of the cache stands in the tree of prefixes. Without a name, for want of memory
  // when it was entered or since it holds generated tokens where these have a role, the block and
  // those that continue it stay in memory alone.
  struct Place {
    std::optional<BlockName> name;
    int parent = -1;              // the block before it; -1: none
    std::optional<Digest> state;  // of its first piece, while callers know it to be in memory
    bool state_leaves = false;    // it is among outgoing_
  };
  // A state that is read, into a slot.
  struct Incoming {
    std::shared_ptr<StoredPrompt> prompt;
    int slot = -1;
    int pieces = 0;  // that it has
  };

  StoredPrefixes& prefixes_;
  PrefixStore& store_;
  ModelRunner& runner_;
  BlockPools& blocks_;
  PrefixGroups& cache_;
  std::vector<Place> places_;  // [blocks of the full group], of those in the cache
  std::size_t nameless_ = 0;   // of these
  std::size_t resident_states_ = 0;
  StatePool* const states_;
  Incoming incoming_;
  std::vector<int> outgoing_;  // blocks whose states are to go to disk
  int next_piece_ = 0;         // of the first of these
  std::vector<int> missing_;   // of `offer`
};

}  // namespace mlxd
