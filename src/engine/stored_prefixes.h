#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_set>
#include <vector>

#include "engine/engine_options.h"
#include "engine/model_runner.h"
#include "prefix_store/prefix_store.h"

namespace mlxd {

// A prompt whose blocks are read from disk.
struct StoredPrompt {
  std::uint64_t epoch = 0;  // of StoredPrefixes when they were looked for
  std::uint64_t salt = 0;
  std::vector<int> tokens;
  // Some of its blocks were not entered, so that those after them cannot be either.
  std::atomic<bool> let_go{false};
};

// Some blocks of a prompt, to be entered to the prefix cache; or pieces of the recurrent state
// behind its first so many blocks.
struct StoredBlocks {
  std::shared_ptr<StoredPrompt> prompt;
  int first = 0;  // number of the first of them in the prompt; of the block behind the state
  std::vector<PrefixStore::Buffer> files;  // one after the other
  int piece = -1;                          // number of the first piece; -1: blocks
};

// How recurrent states lie in a store of blocks: in pieces, files like those of blocks, the first
// as a block that continues the one before the state, the others each as one that continues the
// piece before. Instead of tokens they have numbers that no token has.
class StoredStates {
 public:
  StoredStates(std::size_t state_bytes, std::size_t block_bytes, int block_size)
      : state_bytes_(state_bytes), block_bytes_(block_bytes), tokens_(block_size, 0) {}

  int pieces() const { return static_cast<int>((state_bytes_ + block_bytes_ - 1) / block_bytes_); }
  std::size_t offset(int piece) const { return block_bytes_ * static_cast<std::size_t>(piece); }
  std::size_t bytes(int piece) const {
    return std::min(block_bytes_, state_bytes_ - offset(piece));
  }
  std::vector<int> tokens(int piece) const {
    std::vector<int> tokens = tokens_;
    tokens[0] = -1 - piece;
    return tokens;
  }
  // What follows the block, or the piece, of this key.
  BlockName piece(const BlockFormat& format, const Digest& before, int piece) const {
    return {.key = format.key(before, tokens(piece)), .parent = before};
  }

 private:
  std::size_t state_bytes_, block_bytes_;
  std::vector<int> tokens_;  // [block_size]
};

// The callers' side of the prefix cache's tier on disk: before a request joins the queue, its
// caller's thread reads the blocks of its prompt that memory does not hold and hands them to the
// inference thread (BlockMover), which makes them blocks of the PrefixCache. The request then finds
// them there like any others.
class StoredPrefixes {
 public:
  // `wake` tells the inference thread that there are blocks to take.
  // `state_bytes`: of a recurrent state, or 0.
  StoredPrefixes(const PrefixStoreOptions& options, std::function<void()> wake,
                 std::size_t state_bytes = 0)
      : store_(options),
        states_(state_bytes, options.block_bytes, options.block_size),
        wake_(std::move(wake)) {}

  // Any thread but the inference thread, which must go on meanwhile: it gives back the buffers.
  // Takes a bounded time, and ends when the request is `gone`, which it asks before each block. One
  // caller of the process at a time reads; who comes meanwhile returns at once and computes, so
  // that of several callers' threads one alone waits for the disk. All that it hands over, it hands
  // over before it returns.
  void fetch(std::uint64_t salt, std::span<const int> prompt,
             const std::function<bool()>& gone) noexcept;

  // The rest is the inference thread's.
  std::vector<StoredBlocks> take();
  // What memory holds need not be read.
  void add_resident(const Digest& key);
  void remove_resident(const Digest& key);
  std::size_t resident() const;
  // What was read from before now on may be what was forgotten.
  void begin_epoch() { ++epoch_; }
  std::uint64_t epoch() const { return epoch_; }

  PrefixStore& store() { return store_; }
  const StoredStates& states() const { return states_; }

 private:
  // How many of the prompt's blocks are worth reading: of a model with recurrent states, those up
  // to the last state.
  int reach(std::uint64_t salt, std::span<const int> prompt, int blocks) const;
  bool has_state(const Digest& block) const;
  void read_state(StoredBlocks& part, const Digest& block, TimePoint limit);
  void read_prefix(std::uint64_t salt, std::span<const int> prompt,
                   const std::function<bool()>& gone);
  bool read_block(StoredBlocks& part, const BlockName& name, std::span<const int> tokens,
                  TimePoint limit);
  void hand_over(StoredBlocks& part);
  bool is_resident(const Digest& key) const;

  PrefixStore store_;
  const StoredStates states_;
  const std::function<void()> wake_;
  std::atomic<std::uint64_t> epoch_{0};
  mutable std::mutex mutex_;
  std::unordered_set<Digest, DigestHash> resident_;
  std::vector<StoredBlocks> handed_over_;
};

// As the options ask; null, with a warning that says why, where that cannot be: a cache is no
// reason not to start.
std::unique_ptr<StoredPrefixes> open_stored_prefixes(const EngineOptions& options,
                                                     const RunnerInfo& info,
                                                     std::function<void()> wake);

}  // namespace mlxd
