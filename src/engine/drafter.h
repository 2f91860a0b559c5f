#pragma once

#include <span>
#include <vector>

namespace mlxd {

struct Sequence;

struct DraftAsk {
  const Sequence* sequence = nullptr;
  std::span<const int> tokens{};  // of the sequence, as far as they are known
  int unknown = 0;  // tokens that come between these and the draft: a step that runs draws them
  int most = 0;     // guesses wanted
  std::vector<int>* draft = nullptr;  // empty; takes at most that many
};

// Guesses how sequences go on. A guess costs a row of a step and, where it comes true, saves a
// step; it changes no answer. Inference thread only.
class Drafter {
 public:
  virtual ~Drafter() = default;
  // All sequences of a step at a time, for those that compute guesses in a batch.
  virtual void propose(std::span<const DraftAsk> asks) = 0;
  // The sequence is not asked for again.
  virtual void forget(const Sequence& sequence) noexcept = 0;
};

}  // namespace mlxd
