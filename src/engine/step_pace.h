#pragma once

#include <algorithm>

namespace mlxd {

// How many rows fit a step, learnt from the steps so far. Without sequences that decode, as many as
// take the wanted time. Beside such, prompts get what makes the step at most kSlowdown times as
// long as one without prompts: streams keep their pace, while weights that are read for them anyway
// serve a piece of a prompt as well. When more sequences wait than decode, the step may be up to
// twice that: the more decode at a time, the fewer times the weights are read for all. Begins small
// and at most doubles, so that the first long prompt on a slow machine is no surprise.
//
// Where a step of a single row takes longer than is wanted, since the model is large, fewer rows
// would not mend it: there a step takes as many as make it twice as long.
class StepPace {
 public:
  static constexpr double kSlowdown = 2.5;

  StepPace(double target_seconds, int most_rows)
      : target_seconds_(target_seconds), most_rows_(most_rows), rows_(std::min(64, most_rows)) {}

  // Of a step in which so many sequences decode, while so many have yet to begin.
  int rows(int decoding, int waiting) const {
    if (decoding == 0 || decode_.seconds == 0 || row_seconds_ == 0) return rows_;
    const double slowdown =
        kSlowdown * std::clamp(static_cast<double>(waiting) / decoding, 1.0, 2.0);
    const double spare = (slowdown - 1) * decode_seconds(decoding) / row_seconds_;
    return std::min(decoding + static_cast<int>(std::clamp(spare, 1.0, double(rows_))), rows_);
  }

  // A step took so long for `rows` rows, one each of `decoding` sequences and the rest of prompts.
  void observe(double seconds, int rows, int decoding) {
    const int prompt = rows - decoding;
    if (prompt == 0) {
      learn(decode_.rows, decoding);
      learn(decode_.seconds, seconds);
      return;
    }
    if (prompt >= kTellingRows) {
      const double beside = decoding > 0 ? std::min(decode_seconds(decoding), seconds / 2) : 0;
      learn(row_seconds_, (seconds - beside) / prompt);
    }
    steps_.learn(rows, seconds);
    const int known = std::min(std::max(rows_, 2 * rows), most_rows_);
    const int fit = static_cast<int>(std::clamp(fitting(rows, seconds), 1.0, double(known)));
    // Beside many that decode, a few rows say little of how many would be too many.
    rows_ = prompt < decoding ? std::max(rows_, fit) : fit;
  }

 private:
  static constexpr int kTellingRows = 4;  // fewer cost what a step costs, not what a row does

  static void learn(double& mean, double value) {
    mean = mean == 0 ? value : mean + (value - mean) / 8;
  }

  // Least squares over the last steps: seconds = base + slope * rows.
  struct Line {
    double weight = 0, x = 0, y = 0, xx = 0, xy = 0;  // sums

    void learn(double rows, double seconds) {
      for (double* sum : {&weight, &x, &y, &xx, &xy}) *sum *= 7.0 / 8;
      weight += 1;
      x += rows;
      y += seconds;
      xx += rows * rows;
      xy += rows * seconds;
    }
    double slope() const {
      const double spread = xx * weight - x * x;
      return spread > 0.01 * x * x ? (xy * weight - x * y) / spread : 0;  // 0: all of one size
    }
    double base() const { return (y - slope() * x) / weight; }
  };

  double fitting(int rows, double seconds) const {
    const double slope = steps_.slope(), base = steps_.base();
    if (slope <= 0 || base <= 0) return target_seconds_ * rows / std::max(seconds, 1e-9);
    return (std::max(target_seconds_, 2 * base) - base) / slope;
  }

  // Of a step without prompts. While many wait there is none for long, and the last ones were of
  // fewer sequences: the others are taken to cost what rows of prompts do.
  double decode_seconds(int decoding) const {
    const double others = decoding - decode_.rows;
    return others > 0 ? decode_.seconds + others * row_seconds_
                      : std::max(decode_.seconds + others * row_seconds_,
                                 decode_.seconds * decoding / decode_.rows);
  }

  const double target_seconds_;
  const int most_rows_;
  int rows_;
  struct {
    double rows = 0, seconds = 0;
  } decode_;                // of steps without prompts, means; 0: not known
  double row_seconds_ = 0;  // that a row of a prompt adds; 0: not known
  Line steps_;              // those with prompts
};

}  // namespace mlxd
