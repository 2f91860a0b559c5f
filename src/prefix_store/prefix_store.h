// prefix_store: KV blocks of prompts' prefixes in files, so that they survive the memory that
// computed them: a restart, or an eviction. It knows names, bytes and tokens, never what a block
// means; engine/ offers it what the prefix cache enters and asks it for what that has not.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "prefix_store/block_format.h"
#include "prefix_store/buffer_pool.h"
#include "prefix_store/file_index.h"
#include "prefix_store/leftovers.h"
#include "prefix_store/store_folder.h"
#include "prefix_store/store_stats.h"

namespace mlxd {

// Of blocks on their way to the disk, and from it.
inline constexpr std::size_t kPrefixStoreWriteBytes = std::size_t{64} << 20;
inline constexpr std::size_t kPrefixStoreReadBytes = std::size_t{32} << 20;
inline constexpr std::size_t kPrefixStoreBufferBytes =
    kPrefixStoreWriteBytes + kPrefixStoreReadBytes;
// For writing what is on its way when a store ends; a disk that takes longer loses the rest.
inline constexpr std::chrono::milliseconds kPrefixStoreLastWrites{5000};

struct PrefixStoreOptions {
  std::filesystem::path directory;
  std::uint64_t max_bytes = std::uint64_t{8} << 30;  // of the files of all identities unused now
  // All that the blocks depend on beside salt and tokens, in words: the model's weights, who
  // computes them, and how they lie in memory.
  std::string identity;
  int block_size = 0;           // tokens
  std::size_t block_bytes = 0;  // of a block's contents
  std::size_t write_buffer_bytes = kPrefixStoreWriteBytes;
  std::size_t read_buffer_bytes = kPrefixStoreReadBytes;
  std::chrono::milliseconds last_writes = kPrefixStoreLastWrites;
};

// A bounded folder of blocks. Whatever is wrong with it costs a miss and never an answer: what is
// read was compared with what was looked for, and a block that cannot be written is not there. The
// folder is changed by one thread alone, in the background.
class PrefixStore {
 public:
  using Buffer = BufferPool::Buffer;  // the bytes of a file, as of BlockFormat

  // Throws std::runtime_error, in one sentence, when the folder cannot be used.
  explicit PrefixStore(const PrefixStoreOptions& options);
  // Writes what it was offered before, as far as there is time for it, and removes what was
  // forgotten.
  ~PrefixStore();

  const BlockFormat& format() const { return format_; }
  const std::filesystem::path& path() const { return folder_.path(); }

  // Whether there is such a block to read. Any thread.
  bool contains(const Digest& key) const;
  // For `read`: none when other readers have all of them, until `limit`. Any thread.
  Buffer buffer_until(TimePoint limit) { return read_buffers_.take_until(limit); }
  // Whether `file` now is the block of these tokens. One that is damaged is removed. Any thread.
  bool read(const BlockName& name, std::span<const int> tokens, std::span<std::byte> file);
  // A prefix that ends with this block was asked for: it goes after others. Any thread.
  void note_use(const BlockName& name);

  // The rest is for one thread, the one that computes blocks.
  //
  // Whether the block is on disk or on its way there.
  bool has(const Digest& key) const;
  // Whether a block would be taken now. If not, it counts as dropped.
  bool has_room();
  // Takes a block that it has not, whose contents `fill` writes [block_bytes]; false when too many
  // are on their way already. Passes on what `fill` throws. One that is not the `first` of its
  // prefix is kept only if the one before it is.
  bool offer(const BlockName& name, bool first, std::span<const int> tokens,
             const std::function<void(std::span<std::byte>)>& fill);
  // The block, and all that continue it, are not to be found any more.
  void forget(const Digest& key);

  PrefixStoreStats stats() const;  // any thread
  // Waits until all that was offered, used and forgotten so far is on disk. For tests.
  void flush();

 private:
  struct Write {
    BlockName name;
    bool first = false;
    Buffer file;
  };
  using Lock = std::unique_lock<std::mutex>;

  void run();
  void attempt(Lock& lock, void (PrefixStore::*work)(Lock&));
  void start(Lock& lock);
  void go_on(Lock& lock);
  void tidy(Lock& lock);
  void write_next(Lock& lock);
  void drop_writes();
  bool make_room(Lock& lock, std::uint64_t bytes, const Digest& needed);
  bool write(const Write& block);
  bool idle() const;

  const std::uint64_t max_bytes_;
  const std::chrono::milliseconds last_writes_;
  const BlockFormat format_;
  const StoreFolder folder_;
  BufferPool write_buffers_, read_buffers_;
  std::optional<Leftovers> leftovers_;  // the writer's; none before the first write

  mutable std::mutex mutex_;  // of all that follows; never held while the disk is waited for
  std::condition_variable work_, rested_;
  FileIndex index_;
  std::deque<Write> writes_;          // predecessors before what continues them
  std::optional<BlockName> writing_;  // out of writes_, and not in the index yet
  bool forgotten_while_writing_ = false;
  std::unordered_set<Digest, DigestHash> on_their_way_;  // of writes_ and writing_
  std::deque<BlockName> removals_, touches_;             // files
  bool starting_ = true;
  bool stopping_ = false;
  TimePoint write_until_ = TimePoint::max();
  TimePoint retry_at_ = TimePoint::min();  // a write has failed: nothing is taken before
  std::optional<Digest> full_behind_;      // a prefix so long that nothing else can go for its end
  bool has_failed_ = false;                // the log knows
  PrefixStoreStats stats_;
  std::thread writer_;
};

}  // namespace mlxd
