#pragma once

#include <algorithm>

#include "engine/model_runner.h"

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

// Time of a step of so many decoded rows, in that of a step of one: straight lines through what the
// runner says of 1, 4 and 16 rows.
inline double step_cost(int rows, const RowCost& cost) {
  const double near = (cost[1] - cost[0]) / 3, far = (cost[2] - cost[1]) / 12;
  return cost[0] + near * (std::min(rows, 4) - 1) + far * std::max(rows - 4, 0);
}

// How many tokens a sequence should draft, at most `most`, in a step of `sequences` that decode:
// one more as long as it adds more to the tokens that are drawn than to the time, supposing that
// all sequences do alike. One sequence alone drafts a few tokens even when half of them are wrong;
// sixteen, which share the weights' way anyway, draft only what is nearly certain.
inline int draft_length(double acceptance, int sequences, int most,
                        const RowCost& row_cost = kUsualRowCost) {
  double tokens = 1;           // that a sequence draws in the step
  double chance = acceptance;  // that the next row is of use
  int length = 0;
  for (; length < most; ++length) {
    const double cost = step_cost(sequences * (1 + length), row_cost);
    const double more = step_cost(sequences * (2 + length), row_cost) - cost;
    if (chance * cost <= more * tokens) break;
    tokens += chance;
    chance *= acceptance;
  }
  return length;
}

}  // namespace mlxd
