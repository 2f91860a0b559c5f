#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "engine/block_index.h"
#include "engine/block_manager.h"

namespace mlxd {

// The tokens of a prefix. Where a token's role makes a difference (RunnerInfo::has_roles), those
// from `prompt_length` on were generated: they are others than the same ones of a prompt.
struct PrefixTokens {
  static constexpr int kAll = std::numeric_limits<int>::max();

  PrefixTokens(std::span<const int> of, int prompt) : tokens(of), prompt_length(prompt) {}
  template <std::convertible_to<std::span<const int>> Tokens>
  PrefixTokens(const Tokens& of) : PrefixTokens(std::span<const int>(of), kAll) {}

  int size() const { return static_cast<int>(tokens.size()); }
  // What stands for a token in the cache: itself, or for a generated one a negative number.
  int word(int index) const {
    constexpr int kGenerated = std::numeric_limits<int>::min();
    return index < prompt_length ? tokens[index] : kGenerated + tokens[index];
  }

  std::span<const int> tokens;
  int prompt_length;
};

// Finds the KV blocks of a prefix that was computed before, whoever computed it, so that a sequence
// computes only what is new. Full blocks alone; a block's entry names its salt, its tokens and the
// entry of the block before it, so the entries are trees of prefixes. Inference thread only.
//
// Entries are looked up by a chained 64-bit hash and then compared: an entry answers only to its
// own salt, words and predecessor. Two prefixes with one hash cost a miss, never a wrong block.
//
// The blocks stay the BlockManager's: entered ones are kept there, and leave the cache when they
// are evicted. Whoever owns a block of the cache owns its predecessors too (`enter` sees to it), so
// nothing is evicted before what continues it.
class PrefixCache {
 public:
  // Hears what becomes of the cache's blocks.
  class Listener {
   public:
    virtual ~Listener() = default;
    // It was entered behind `parent`, which is in the cache; -1: it is a prefix's first. `words`
    // are those of PrefixTokens.
    virtual void on_enter(int block, int parent, std::uint64_t salt,
                          std::span<const int> words) = 0;
    virtual void on_evict(int block) = 0;
    // It holds what nobody is to find, as do the blocks that continue it, which are named later.
    virtual void on_forget(int block) = 0;
  };

  // Hashes one more word into what was hashed before.
  using Mix = std::uint64_t (*)(std::uint64_t hash, std::uint64_t word);

  // Hears of evictions from `blocks`, which must outlive the cache. Any `mix` gives right answers;
  // a poor one finds less.
  PrefixCache(BlockManager& blocks, int block_size, Mix mix = mix_well);
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;
  ~PrefixCache();

  // Null: nobody. It hears of what comes from now on, and must not throw.
  void set_listener(Listener* listener) { listener_ = listener; }

  // The blocks that hold a prefix of the tokens, as long as there are some. To be adopted before
  // anything is allocated.
  BlockTable find(std::uint64_t salt, const PrefixTokens& tokens) const;

  // Enters the blocks of `tokens`, which are computed and lie in `table`; the first `entered` have
  // been entered or found before. A block that somebody else has entered meanwhile is given up for
  // that one, so that there is one copy. Returns how many are entered now, which is fewer than are
  // full when a block's predecessor is not in the cache any more, or a block is pinned (it would
  // outlive its predecessors as the pin does its owner).
  int enter(std::uint64_t salt, const PrefixTokens& tokens, BlockTable& table, int entered);

  // Takes out the table's blocks and all that continue them; who owns them keeps them. Needs no
  // memory.
  void forget(const BlockTable& table) noexcept;
  // Takes out all, whatever the BlockManager knows of them, which is to be reset then.
  void clear() noexcept;

  int size() const { return by_hash_.size(); }  // blocks, in use or idle
  bool contains(int block) const { return entries_[block].id != 0; }

  // Of a block in the cache. [block_size]
  std::span<const int> words_of(int block) const {
    return std::span(words_).subspan(static_cast<std::size_t>(block) * block_size_, block_size_);
  }

  // Broken: the process ends, naming what broke.
  void check_integrity() const;

  // One round of SplitMix64's finaliser.
  static std::uint64_t mix_well(std::uint64_t hash, std::uint64_t word);

 private:
  struct Entry {
    std::uint64_t id = 0;      // never used again; 0: the block is not in the cache
    std::uint64_t parent = 0;  // the id of the predecessor's entry; 0: none
    std::uint64_t salt = 0;
    std::uint64_t hash = 0;  // of salt and tokens up to here
  };
  // A block as it is looked for: the position in a tree, and what comes next.
  struct Key {
    std::uint64_t parent, salt, hash;
    const PrefixTokens& tokens;
    int first;  // of the block
  };

  Key key_of(std::uint64_t salt, const Entry* parent, const PrefixTokens& tokens, int index) const;
  bool is(int block, const Key& key) const;
  void add(int block, const Key& key);
  void erase(int block);
  void forget_one(int block);

  BlockManager& blocks_;
  const int block_size_;
  const Mix mix_;
  const std::uint64_t secret_;  // so that nobody outside can make hashes collide
  std::vector<Entry> entries_;  // [blocks]
  std::vector<int> words_;      // [blocks, block_size]
  std::vector<int> by_age_;     // [blocks]: scratch of `forget`
  BlockIndex by_hash_;
  std::uint64_t last_id_ = 0;
  Listener* listener_ = nullptr;
};

}  // namespace mlxd
