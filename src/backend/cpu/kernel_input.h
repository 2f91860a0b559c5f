#pragma once

#include <cstdint>

#include "backend/cpu/kernels.h"

namespace mlxd::cpu {

// One group of one input row as the dot products read it.
struct InputGroup {
  std::int8_t quantized[kGroupColumns];
  float scale;
  float sum;
  // What an integer dot product over the group (bias[0]) or over its halves starts from: minus the
  // zero point times the sum of the quantised. Not set where the zero point is 0.
  std::int32_t bias[2];
};
static_assert(sizeof(InputGroup) == 48);

// This thread's scratch memory for at least `groups` groups, 64-byte aligned, kept between calls.
InputGroup* input_scratch(std::size_t groups);

}  // namespace mlxd::cpu
