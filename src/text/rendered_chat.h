#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace mlxd {

// Bytes of a text, from `begin` to before `end`.
struct ByteRange {
  std::size_t begin = 0;
  std::size_t end = 0;

  bool operator==(const ByteRange&) const = default;
};

// A conversation as a template wrote it, with special tokens written out.
struct RenderedChat {
  std::string text;
  // The bytes that the client chose, ascending, none empty: what stands there is never a special
  // token, whatever it says.
  std::vector<ByteRange> client;
};

}  // namespace mlxd
