#pragma once

#include <vector>

#include "model/model_plan.h"

namespace mlxd::cpu {

// Cosines and sines of one Rope for every position seen so far; [position][2][half].
class RopeTable {
 public:
  explicit RopeTable(const Rope& rope) : rope_(rope) {}

  bool matches(const Rope& rope) const {
    return rope.inverse_frequencies == rope_.inverse_frequencies &&
           rope.magnitude == rope_.magnitude;
  }
  int half() const { return static_cast<int>(rope_.inverse_frequencies.size()); }
  int positions() const { return positions_; }

  // Makes room for positions up to `end`, which fill() then computes. Inference thread, between
  // steps.
  void grow(int end);
  // Computes positions [first, end); parts may be computed by several threads at once.
  void fill(int first, int end);

  const float* cosines(int position) const { return &values_[index(position)]; }
  const float* sines(int position) const { return cosines(position) + half(); }

 private:
  std::size_t index(int position) const { return std::size_t{2} * half() * position; }

  Rope rope_;
  int positions_ = 0;
  std::vector<float> values_;
};

}  // namespace mlxd::cpu
