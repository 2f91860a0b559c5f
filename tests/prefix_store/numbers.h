#pragma once

#include <numeric>
#include <vector>

namespace mlxd::testing {

// Tokens that count up, so that those of two prefixes differ where their numbers do.
inline std::vector<int> numbers(int from, int count) {
  std::vector<int> tokens(count);
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

}  // namespace mlxd::testing
