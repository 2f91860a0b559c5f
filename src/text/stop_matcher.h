#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mlxd {

// Finds the first of several stop strings in text that comes in pieces, and never lets out a piece
// that may yet turn out to be the beginning of one. One sequence, one thread.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);

  struct Output {
    std::string text;      // may be sent now
    bool stopped = false;  // a stop string was completed; it and all behind it are gone
  };
  Output push(std::string_view piece);
  // The text held back when the sequence ended by itself.
  std::string finish();

 private:
  std::vector<std::string> stops_;
  std::string held_;
};

}  // namespace mlxd
