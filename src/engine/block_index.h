#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mlxd {

// Blocks by the hash of what they hold, at most one a hash: a table of chains that lie in arrays by
// block, so that a step's entries and evictions allocate nothing and touch little memory.
class BlockIndex {
 public:
  explicit BlockIndex(int blocks)
      : first_(std::bit_ceil(static_cast<std::size_t>(blocks)), -1),
        next_(blocks, -1),
        hashes_(blocks, 0) {}

  // -1: none.
  int find(std::uint64_t hash) const {
    int block = first_[slot(hash)];
    while (block >= 0 && hashes_[block] != hash) block = next_[block];
    return block;
  }
  // Neither the hash nor the block is in it yet.
  void insert(std::uint64_t hash, int block) {
    int& first = first_[slot(hash)];
    hashes_[block] = hash;
    next_[block] = first;
    first = block;
    ++size_;
  }
  // The block is in it.
  void erase(int block) {
    int* link = &first_[slot(hashes_[block])];
    while (*link != block) link = &next_[*link];
    *link = next_[block];
    --size_;
  }
  int size() const { return size_; }

 private:
  std::size_t slot(std::uint64_t hash) const { return hash & (first_.size() - 1); }

  std::vector<int> first_;             // [a power of two]: of a chain; -1: empty
  std::vector<int> next_;              // [blocks]: behind it in its chain; -1: the last
  std::vector<std::uint64_t> hashes_;  // [blocks]
  int size_ = 0;
};

}  // namespace mlxd
