#pragma once

#include <algorithm>

namespace mlxd {

// How many rows fit a step, learnt from the steps so far. Without sequences that decode, as many as
// take the wanted time. Beside such, prompts get what makes the step at most kSlowdown times as
// long as one without prompts: streams keep their pace, while weights that are read for them anyway
// serve a piece of a prompt as well. Begins small and at most doubles, so that the first long
// prompt on a slow machine is no surprise.
class StepPace {
 public:
  static constexpr double kSlowdown = 2.5;

  StepPace(double target_seconds, int most_rows)
      : target_seconds_(target_seconds), most_rows_(most_rows), rows_(std::min(64, most_rows)) {}

  // Of a step in which so many sequences decode.
  int rows(int decoding) const {
    if (decoding == 0 || decode_seconds_ == 0 || row_seconds_ == 0) return rows_;
    const double spare = (kSlowdown - 1) * decode_seconds_ / row_seconds_;
    return std::min(decoding + static_cast<int>(std::clamp(spare, 1.0, double(rows_))), rows_);
  }

  // A step took so long for `rows` rows, one each of `decoding` sequences and the rest of prompts.
  void observe(double seconds, int rows, int decoding) {
    const int prompt = rows - decoding;
    if (prompt == 0) return learn(decode_seconds_, seconds);
    if (prompt >= kTellingRows) {
      const double beside = decoding > 0 ? std::min(decode_seconds_, seconds / 2) : 0;
      learn(row_seconds_, (seconds - beside) / prompt);
    }
    if (prompt < decoding) return;  // says little of how many rows fit
    const double fitting = target_seconds_ * rows / std::max(seconds, 1e-9);
    const int known = std::max(rows_, 2 * rows);
    rows_ = static_cast<int>(
        std::clamp(fitting, 1.0, static_cast<double>(std::min(known, most_rows_))));
  }

 private:
  static constexpr int kTellingRows = 4;  // fewer cost what a step costs, not what a row does

  static void learn(double& mean, double value) {
    mean = mean == 0 ? value : mean + (value - mean) / 8;
  }

  const double target_seconds_;
  const int most_rows_;
  int rows_;
  double decode_seconds_ = 0;  // of a step without prompts; 0: not known
  double row_seconds_ = 0;     // that a row of a prompt adds; 0: not known
};

}  // namespace mlxd
