#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "backend/cpu/reference.h"

namespace mlxd::cpu {

// Root of the mean squared difference over that of the reference itself.
inline double relative_error(const std::vector<float>& logits, const Row& expected) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += (logits[i] - expected[i]) * (logits[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(difference / size);
}

}  // namespace mlxd::cpu
