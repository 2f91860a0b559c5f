#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace mlxd {

// Guesses how a sequence goes on from what it has said before ("prompt lookup"): what followed the
// latest earlier occurrence of its last few tokens. One a sequence; inference thread only.
//
// N-grams lie in a hash table that keeps the latest position of each and forgets one when another
// takes its slot, so that a step costs a few look-ups however long the sequence is, and memory is
// at most kMostSlots ints.
class NgramIndex {
 public:
  static constexpr int kLongest = 4, kShortest = 2;  // tokens that must recur; the longest first
  static constexpr int kMostSlots = 1 << 16;

  // Puts at most `most` tokens into `draft`; none when the last kShortest tokens are new. `tokens`
  // must be those of the call before, or these and more.
  void propose(std::span<const int> tokens, int most, std::vector<int>& draft);

 private:
  void index(std::span<const int> tokens);
  // Where the latest known occurrence of `ngram` ends; 0 when there is none.
  int find(std::span<const int> tokens, std::span<const int> ngram) const;
  std::size_t slot(std::span<const int> ngram) const;

  std::vector<int> ends_;  // [a power of two]: the position after an n-gram of this hash; 0: none
  int indexed_ = 0;        // n-grams that end here or before are in the table
};

}  // namespace mlxd
