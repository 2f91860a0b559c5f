#pragma once

#include <atomic>
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

// Some blocks of a prompt, to be entered to the prefix cache.
struct StoredBlocks {
  std::shared_ptr<StoredPrompt> prompt;
  int first = 0;                           // number of the first of them in the prompt
  std::vector<PrefixStore::Buffer> files;  // one after the other
};

// The callers' side of the prefix cache's tier on disk: before a request joins the queue, its
// caller's thread reads the blocks of its prompt that memory does not hold and hands them to the
// inference thread (BlockMover), which makes them blocks of the PrefixCache. The request then finds
// them there like any others.
class StoredPrefixes {
 public:
  // `wake` tells the inference thread that there are blocks to take.
  StoredPrefixes(const PrefixStoreOptions& options, std::function<void()> wake)
      : store_(options), wake_(std::move(wake)) {}

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

 private:
  void read_prefix(std::uint64_t salt, std::span<const int> prompt,
                   const std::function<bool()>& gone);
  bool read_block(StoredBlocks& part, const BlockName& name, std::span<const int> tokens,
                  TimePoint limit);
  void hand_over(StoredBlocks& part);
  bool is_resident(const Digest& key) const;

  PrefixStore store_;
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
