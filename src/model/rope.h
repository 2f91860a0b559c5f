#pragma once

#include <vector>

#include "model/model_config.h"

namespace mlxd {

// Rotary embedding (Su et al. 2021): pair i of a head is turned by position *
// inverse_frequencies[i]. All scalings (linear, llama3, yarn, stored divisors) are worked into the
// frequencies.
struct Rope {
  std::vector<float> inverse_frequencies;  // [rotated dimensions / 2]; the rest of the head passes
  bool interleaved = false;                // pairs (2i, 2i+1) instead of (i, i + rotated / 2)
  float magnitude = 1;                     // yarn: factor on the rotated q and k
};

// The frequencies of rotary positions, every scaling worked in: pair i turns by
// theta^(-2i / dimensions) per position before it. `dimensions` is even.
Rope make_rope(const RopeConfig& config);

}  // namespace mlxd
