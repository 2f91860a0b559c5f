#pragma once

#include <cstddef>
#include <cstdint>

namespace mlxd {

// What a PrefixStore holds, and has done so far.
struct PrefixStoreStats {
  std::uint64_t blocks = 0;  // on disk
  std::uint64_t bytes = 0;   // of these
  std::uint64_t read = 0;    // blocks that were found and read
  std::uint64_t written = 0;
  std::uint64_t damaged = 0;     // found not to be what was written, and removed
  std::uint64_t dropped = 0;     // not written: too many were on their way, or the disk failed
  std::size_t buffer_bytes = 0;  // memory of blocks on their way to and from the disk
};

}  // namespace mlxd
