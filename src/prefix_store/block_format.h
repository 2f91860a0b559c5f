#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "prefix_store/digest.h"

namespace mlxd {

// A block of a prefix by its place in the tree of prefixes: two blocks have one key only when their
// salt and all tokens up to their ends are the same.
struct BlockName {
  Digest key{};
  Digest parent{};  // the key of the block before it, or the root of its salt
};

// What a block's file holds:
//
//   magic and version | identity [32] | parent [32] | tokens [block_size] i32 | zeros to 64 bytes
//   payload [block_bytes]
//   checksum [16] of all before
//
// A reader knows what it looks for, so nothing in a file is interpreted: the header must be, byte
// for byte, the one that it would write itself.
class BlockFormat {
 public:
  // `identity` stands for all that blocks depend on beside salt and tokens.
  BlockFormat(const Digest& identity, int block_size, std::size_t block_bytes);

  int block_size() const { return block_size_; }
  std::size_t file_bytes() const { return header_bytes_ + block_bytes_ + sizeof(Checksum); }

  // The keys: a chain of SHA-256 over identity, salt and tokens, which also keeps the salt secret.
  Digest root(std::uint64_t salt) const;
  Digest key(const Digest& parent, std::span<const int> tokens) const;  // [block_size]

  // Of the bytes of a file:
  std::span<std::byte> payload(std::span<std::byte> file) const {
    return file.subspan(header_bytes_, block_bytes_);
  }
  void write_header(std::span<std::byte> file, const Digest& parent,
                    std::span<const int> tokens) const;
  void seal(std::span<std::byte> file) const;  // header and payload are there: writes the checksum
  // Whether this is the whole and undamaged block of these tokens behind `parent`.
  bool holds(std::span<const std::byte> file, const Digest& parent,
             std::span<const int> tokens) const;

 private:
  const Digest identity_;
  const int block_size_;
  const std::size_t block_bytes_;
  const std::size_t header_bytes_;
};

}  // namespace mlxd
