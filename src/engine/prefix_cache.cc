#include "engine/prefix_cache.h"

#include <algorithm>
#include <random>
#include <unordered_map>

#include "base/check.h"

namespace mlxd {
namespace {

std::uint64_t random_word() {
  std::random_device source;
  return std::uint64_t{source()} << 32 | source();
}

}  // namespace

std::uint64_t PrefixCache::mix_well(std::uint64_t hash, std::uint64_t word) {
  std::uint64_t x = (hash ^ word) + 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

PrefixCache::PrefixCache(BlockManager& blocks, int block_size, Mix mix)
    : blocks_(blocks),
      block_size_(block_size),
      mix_(mix),
      secret_(random_word()),
      entries_(blocks.total()),
      words_(static_cast<std::size_t>(blocks.total()) * block_size),
      by_age_(blocks.total()),
      by_hash_(blocks.total()) {
  blocks_.on_evict([this](int block) {
    erase(block);
    if (listener_ != nullptr) listener_->on_evict(block);
  });
}

PrefixCache::~PrefixCache() { blocks_.on_evict({}); }

BlockTable PrefixCache::find(std::uint64_t salt, const PrefixTokens& tokens) const {
  BlockTable found;
  const int full = tokens.size() / block_size_;
  const Entry* parent = nullptr;
  for (int index = 0; index < full; ++index) {
    const Key key = key_of(salt, parent, tokens, index);
    const int block = by_hash_.find(key.hash);
    if (block < 0 || !is(block, key)) break;
    found.push_back(block);
    parent = &entries_[block];
  }
  return found;
}

int PrefixCache::enter(std::uint64_t salt, const PrefixTokens& tokens, BlockTable& table,
                       int entered) {
  const int full = tokens.size() / block_size_;
  for (; entered < full; ++entered) {
    const Entry* parent = entered == 0 ? nullptr : &entries_[table[entered - 1]];
    if (parent != nullptr && parent->id == 0) break;
    if (blocks_.is_pinned(table[entered])) break;
    const Key key = key_of(salt, parent, tokens, entered);
    const int known = by_hash_.find(key.hash);
    if (known < 0) {
      add(table[entered], key);
      if (listener_ != nullptr) {
        listener_->on_enter(table[entered], entered == 0 ? -1 : table[entered - 1], salt,
                            words_of(table[entered]));
      }
    } else if (!is(known, key)) {
      break;
    } else if (known != table[entered]) {
      blocks_.replace(table, entered, known);
    }
  }
  return entered;
}

void PrefixCache::forget(const BlockTable& table) noexcept {
  if (table.empty()) return;
  for (const int block : table) {
    if (entries_[block].id != 0) forget_one(block);
  }
  // Who has lost its predecessor goes as well. These come first: their ids are smaller.
  std::size_t cached = 0;
  for (int block = 0; block < blocks_.total(); ++block) {
    if (entries_[block].id != 0) by_age_[cached++] = block;
  }
  const auto id_of = [this](int block) { return entries_[block].id; };
  std::ranges::sort(std::span(by_age_).first(cached), {}, id_of);
  std::size_t staying = 0;
  for (std::size_t i = 0; i < cached; ++i) {
    const int block = by_age_[i];
    const std::uint64_t parent = entries_[block].parent;
    const auto known = std::span(by_age_).first(staying);
    if (parent == 0 || std::ranges::binary_search(known, parent, {}, id_of)) {
      by_age_[staying++] = block;
    } else {
      forget_one(block);
    }
  }
}

void PrefixCache::forget_one(int block) {
  erase(block);
  blocks_.forget(block);
  if (listener_ != nullptr) listener_->on_forget(block);
}

void PrefixCache::clear() noexcept {
  for (int block = 0; block < blocks_.total(); ++block) {
    if (entries_[block].id == 0) continue;
    erase(block);
    if (listener_ != nullptr) listener_->on_evict(block);
  }
}

PrefixCache::Key PrefixCache::key_of(std::uint64_t salt, const Entry* parent,
                                     const PrefixTokens& tokens, int index) const {
  Key key{.parent = parent == nullptr ? 0 : parent->id,
          .salt = salt,
          .hash = parent == nullptr ? mix_(secret_, salt) : parent->hash,
          .tokens = tokens,
          .first = index * block_size_};
  for (int i = key.first; i < key.first + block_size_; ++i) {
    key.hash = mix_(key.hash, static_cast<std::uint64_t>(tokens.word(i)));
  }
  return key;
}

bool PrefixCache::is(int block, const Key& key) const {
  const Entry& entry = entries_[block];
  if (entry.parent != key.parent || entry.salt != key.salt) return false;
  int index = key.first;
  return std::ranges::all_of(words_of(block),
                             [&](int word) { return word == key.tokens.word(index++); });
}

void PrefixCache::add(int block, const Key& key) {
  check(entries_[block].id == 0, "a block is in the cache once");
  by_hash_.insert(key.hash, block);
  entries_[block] = {++last_id_, key.parent, key.salt, key.hash};
  int* const words = &words_[static_cast<std::size_t>(block) * block_size_];
  for (int i = 0; i < block_size_; ++i) words[i] = key.tokens.word(key.first + i);
  blocks_.keep(block);
}

void PrefixCache::erase(int block) {
  by_hash_.erase(block);
  entries_[block] = {};
}

void PrefixCache::check_integrity() const {
  std::unordered_map<std::uint64_t, int> by_id;
  for (int block = 0; block < blocks_.total(); ++block) {
    if (entries_[block].id == 0) continue;
    check(by_hash_.find(entries_[block].hash) == block, "a hash leads to its entry");
    check(blocks_.is_kept(block), "the blocks of the cache are kept");
    by_id[entries_[block].id] = block;
  }
  check(static_cast<int>(by_id.size()) == size(), "every entry has its own number");
  std::unordered_map<int, int> place;  // of an idle block: 0 goes first
  for (const int block : blocks_.idle_blocks())
    place.emplace(block, static_cast<int>(place.size()));
  for (const auto& [id, block] : by_id) {
    const Entry& entry = entries_[block];
    if (entry.parent == 0) continue;
    const auto parent = by_id.find(entry.parent);
    check(parent != by_id.end(), "the predecessor of a cached block is in the cache");
    check(entries_[parent->second].salt == entry.salt, "a prefix has one salt");
    if (blocks_.in_use(parent->second)) continue;
    check(!blocks_.in_use(block), "who owns a cached block owns its predecessor");
    check(place[block] < place[parent->second], "a cached block goes before its predecessor");
  }
}

}  // namespace mlxd
