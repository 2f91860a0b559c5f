#pragma once

#include <vector>

#include "model/model_plan.h"

namespace mlxd::cpu {

// Cosines and sines of one Rope for every position seen so far; [position][2][half].
class RopeTable {
 public:
  // Of positions 0 .. `most_positions` - 1.
  RopeTable(const Rope& rope, int most_positions) : rope_(rope), most_positions_(most_positions) {}

  int half() const { return static_cast<int>(rope_.inverse_frequencies.size()); }
  // Those from 0 on that can be read.
  int positions() const { return positions_; }

  // To have more of them, in this order, since a step may fail after each: makes room for positions
  // up to `end` (inference thread, between steps); computes [first, end), parts on several threads
  // at once; and says that all up to `end` are there (inference thread, between steps).
  void make_room(int end);
  void fill(int first, int end);
  void have(int end) { positions_ = end; }
  std::size_t bytes() const { return values_.capacity() * sizeof(float); }

  const float* cosines(int position) const { return &values_[index(position)]; }
  const float* sines(int position) const { return cosines(position) + half(); }

 private:
  std::size_t index(int position) const { return std::size_t{2} * half() * position; }

  Rope rope_;
  int most_positions_;
  int positions_ = 0;
  std::vector<float> values_;
};

}  // namespace mlxd::cpu
