#pragma once

#include <algorithm>

namespace mlxd {

// How often a sequence's drafts have come true of late: the chance of the next drafted token, given
// that those before it were right. It is kept up for sequences that do not draft, too: what would
// have been drafted is compared with what was drawn, so a sequence finds back without paying.
class DraftRecord {
 public:
  double acceptance() const { return acceptance_; }

  // Whether a guess, those before it being right, was right as well.
  void observe(bool right) { acceptance_ += kWeight * ((right ? 1.0 : 0.0) - acceptance_); }

 private:
  static constexpr double kWeight = 0.125;
  double acceptance_ = 0.5;
};

// Time of a step of so many decoded rows, in that of a step of one: as measured on the cpu backend
// with SmolLM2 135M and Qwen2.5 1.5B (1.3 for 4 rows, 2.3 for 8, 4.2 for 16), whose kernels compute
// four rows on the weights' way through the processor for hardly more than one.
inline double step_cost(int rows) {
  return 1 + 0.12 * (std::min(rows, 4) - 1) + 0.23 * std::max(rows - 4, 0);
}

// How many tokens a sequence should draft, at most `most`, in a step of `sequences` that decode:
// one more as long as it adds more to the tokens that are drawn than to the time, supposing that
// all sequences do alike. One sequence alone drafts a few tokens even when half of them are wrong;
// sixteen, which share the weights' way anyway, draft only what is nearly certain.
inline int draft_length(double acceptance, int sequences, int most) {
  double tokens = 1;           // that a sequence draws in the step
  double chance = acceptance;  // that the next row is of use
  int length = 0;
  for (; length < most; ++length) {
    const double cost = step_cost(sequences * (1 + length));
    const double more = step_cost(sequences * (2 + length)) - cost;
    if (chance * cost <= more * tokens) break;
    tokens += chance;
    chance *= acceptance;
  }
  return length;
}

}  // namespace mlxd
