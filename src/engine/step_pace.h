#pragma once

#include <algorithm>

namespace mlxd {

// How many rows of prompt fit a step of the wanted length, learnt from the steps so far. Begins
// small and at most doubles, so that the first long prompt on a slow machine is no surprise.
class StepPace {
 public:
  StepPace(double target_seconds, int most_rows)
      : target_seconds_(target_seconds), most_rows_(most_rows), rows_(std::min(64, most_rows)) {}

  int rows() const { return rows_; }

  void observe(double seconds, int rows, int sequences) {
    if (rows < 2 * sequences) return;  // decoding: a row costs as much as its weights' way
    const double fitting = target_seconds_ * rows / std::max(seconds, 1e-9);
    const int known = std::max(rows_, 2 * rows);
    rows_ = static_cast<int>(
        std::clamp(fitting, 1.0, static_cast<double>(std::min(known, most_rows_))));
  }

 private:
  const double target_seconds_;
  const int most_rows_;
  int rows_;
};

}  // namespace mlxd
