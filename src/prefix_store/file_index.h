#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "prefix_store/block_format.h"

namespace mlxd {

// Which blocks are on disk, and which goes first when room is needed: of those that nothing
// continues, the one that was used longest ago. So a prefix loses its end before its beginning, and
// a beginning that many share stays while one of them does. Knows names alone; one thread at a
// time.
class FileIndex {
 public:
  std::size_t size() const { return entries_.size(); }
  bool contains(const Digest& key) const { return entries_.contains(key); }

  // As used just now. It is not there yet; its parent may be missing. All or nothing when memory is
  // short.
  void insert(const BlockName& name);
  // The prefix that ends with this block was used just now: that of its end tells of all before.
  void use(const Digest& key);
  // False when it is not there. Of an end, this needs no memory.
  bool erase(const Digest& key);
  // What goes first, and is not `spared`.
  std::optional<BlockName> oldest_end(const Digest& spared = {}) const;
  // Takes out the block, if it is there, and all that continue it.
  std::vector<BlockName> take_subtree(const Digest& key);

 private:
  struct Entry {
    Digest parent{};
    std::uint64_t used = 0;
  };
  using Entries = std::unordered_map<Digest, Entry, DigestHash>;
  using Keys = std::unordered_set<Digest, DigestHash>;

  bool is_end(const Digest& key) const { return !children_.contains(key); }

  Entries entries_;
  // Of keys whether or not they are there themselves; without any, there is no set.
  std::unordered_map<Digest, Keys, DigestHash> children_;
  std::set<std::pair<std::uint64_t, Digest>> ends_;  // (used, key)
  std::uint64_t clock_ = 0;                          // ticks with every use
};

}  // namespace mlxd
