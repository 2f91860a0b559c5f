#include "engine/stored_prefixes.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace mlxd {
namespace {

// For one prompt: what a slow disk has not given by then is computed.
constexpr std::chrono::seconds kLongestFetch{3};
// Of these, waiting for the inference thread to take some of what was read, which it does between
// two steps.
constexpr std::chrono::seconds kLongestWait{2};
// Handed over at once: few enough that reading goes on while others are entered.
constexpr std::size_t kBlocksTogether = 16;

// Held by the one caller that reads, of all engines: they share the callers' threads.
std::mutex reading;

}  // namespace

void StoredPrefixes::fetch(std::uint64_t salt, std::span<const int> prompt,
                           const std::function<bool()>& gone) noexcept {
  try {
    const std::unique_lock alone(reading, std::try_to_lock);
    if (alone) read_prefix(salt, prompt, gone);
  } catch (const std::exception& exception) {
    spdlog::warn("a prompt's prefix was not read from disk: {}", exception.what());
  }
}

void StoredPrefixes::read_prefix(std::uint64_t salt, std::span<const int> prompt,
                                 const std::function<bool()>& gone) {
  const TimePoint limit = Clock::now() + kLongestFetch;
  const std::uint64_t epoch = epoch_;
  const BlockFormat& format = store_.format();
  const int size = format.block_size();
  // The last token is computed whatever is known: its logits are wanted.
  const int blocks = reach(salt, prompt, static_cast<int>(prompt.size() - 1) / size);
  StoredBlocks part;
  const auto begin = [&] {
    if (part.prompt) return;
    part.prompt = std::make_shared<StoredPrompt>();
    part.prompt->epoch = epoch;
    part.prompt->salt = salt;
    part.prompt->tokens.assign(prompt.begin(), prompt.end());
  };
  BlockName name{.key = format.root(salt), .parent = {}};
  std::optional<BlockName> last;  // on disk
  int block = 0;
  for (; block < blocks; ++block) {
    if (gone() || Clock::now() >= limit || (part.prompt && part.prompt->let_go)) break;
    const auto tokens = prompt.subspan(static_cast<std::size_t>(block) * size, size);
    name = {.key = format.key(name.key, tokens), .parent = name.key};
    const bool stored = store_.contains(name.key);
    if (stored) last = name;
    if (is_resident(name.key)) {
      hand_over(part);
      continue;
    }
    if (!stored) break;
    begin();
    if (part.files.empty()) part.first = block;
    if (!read_block(part, name, tokens, limit)) break;
    if (part.files.size() == kBlocksTogether) hand_over(part);
  }
  hand_over(part);
  if (block > 0 && block == blocks && states_.pieces() > 0) {
    begin();
    part.first = blocks;
    read_state(part, name.key, limit);
  }
  if (last) store_.note_use(*last);
}

int StoredPrefixes::reach(std::uint64_t salt, std::span<const int> prompt, int blocks) const {
  if (states_.pieces() == 0) return blocks;
  const BlockFormat& format = store_.format();
  Digest key = format.root(salt);
  int last = 0;
  for (int block = 0; block < blocks; ++block) {
    const auto size = static_cast<std::size_t>(format.block_size());
    key = format.key(key, prompt.subspan(static_cast<std::size_t>(block) * size, size));
    if (!is_resident(key) && !store_.contains(key)) break;
    if (has_state(key)) last = block + 1;
  }
  return last;
}

// In memory, or on disk with all its pieces.
bool StoredPrefixes::has_state(const Digest& block) const {
  Digest key = block;
  for (int piece = 0; piece < states_.pieces(); ++piece) {
    key = states_.piece(store_.format(), key, piece).key;
    if (piece == 0 && is_resident(key)) return true;
    if (!store_.contains(key)) return false;
  }
  return true;
}

void StoredPrefixes::read_state(StoredBlocks& part, const Digest& block, TimePoint limit) {
  BlockName name{.key = block, .parent = {}};
  for (int piece = 0; piece < states_.pieces(); ++piece) {
    if (Clock::now() >= limit || part.prompt->let_go) return;
    name = states_.piece(store_.format(), name.key, piece);
    if (piece == 0 && is_resident(name.key)) return;
    if (part.files.empty()) part.piece = piece;
    if (!read_block(part, name, states_.tokens(piece), limit)) return;
    if (part.files.size() == kBlocksTogether) hand_over(part);
  }
  hand_over(part);
  store_.note_use(name);
}

// Who waits for a buffer has handed over those it held, or they would never come back.
bool StoredPrefixes::read_block(StoredBlocks& part, const BlockName& name,
                                std::span<const int> tokens, TimePoint limit) {
  PrefixStore::Buffer file = store_.buffer_until(TimePoint::min());
  if (!file) {
    hand_over(part);
    file = store_.buffer_until(std::min(limit, Clock::now() + kLongestWait));
  }
  if (!file || !store_.read(name, tokens, file.bytes())) return false;
  part.files.push_back(std::move(file));
  return true;
}

// What is read next continues it.
void StoredPrefixes::hand_over(StoredBlocks& part) {
  if (part.files.empty()) return;
  const int blocks = static_cast<int>(part.files.size());
  {
    std::lock_guard lock(mutex_);
    handed_over_.push_back({part.prompt, part.first, std::exchange(part.files, {}), part.piece});
  }
  (part.piece < 0 ? part.first : part.piece) += blocks;
  wake_();
}

std::vector<StoredBlocks> StoredPrefixes::take() {
  std::lock_guard lock(mutex_);
  return std::exchange(handed_over_, {});
}

void StoredPrefixes::add_resident(const Digest& key) {
  std::lock_guard lock(mutex_);
  resident_.insert(key);
}

void StoredPrefixes::remove_resident(const Digest& key) {
  std::lock_guard lock(mutex_);
  resident_.erase(key);
}

std::size_t StoredPrefixes::resident() const {
  std::lock_guard lock(mutex_);
  return resident_.size();
}

bool StoredPrefixes::is_resident(const Digest& key) const {
  std::lock_guard lock(mutex_);
  return resident_.contains(key);
}

std::unique_ptr<StoredPrefixes> open_stored_prefixes(const EngineOptions& options,
                                                     const RunnerInfo& info,
                                                     std::function<void()> wake) {
  const PrefixDiskOptions& disk = options.prefix_disk;
  if (disk.directory.empty() || !options.prefix_cache) return nullptr;
  // No prefix cache either, or one of states alone, of whose blocks there is nothing to write.
  if (!info.causal || info.kv.empty()) return nullptr;
  if (info.kv_format.empty()) {
    spdlog::warn(
        "the {} backend cannot put its KV blocks on disk: the prefix cache stays in memory alone",
        info.backend);
    return nullptr;
  }
  try {
    PrefixStoreOptions store;
    store.directory = disk.directory;
    store.max_bytes = disk.max_bytes;
    store.identity = fmt::format("{}\n{} {}\nKV blocks {}, {} tokens, {} bytes\n",
                                 disk.model ? disk.model() : "", info.backend, info.instruction_set,
                                 info.kv_format, info.block_size, info.block_bytes());
    if (info.state_bytes > 0) store.identity += fmt::format("states {} bytes\n", info.state_bytes);
    store.block_size = info.block_size;
    store.block_bytes = info.block_bytes();
    auto opened = std::make_unique<StoredPrefixes>(store, std::move(wake), info.state_bytes);
    spdlog::info("prefix cache on disk: {} has {} blocks", opened->store().path().string(),
                 opened->store().stats().blocks);
    return opened;
  } catch (const std::exception& exception) {
    spdlog::warn("the prefix cache stays in memory alone: {}", exception.what());
  }
  return nullptr;
}

}  // namespace mlxd
