#pragma once

#include <span>

#include "model/model_config.h"
#include "model/model_plan.h"

namespace mlxd {

// The frequencies of rotary positions over heads of `head_dim` (even), every scaling worked in:
// pair i turns by theta^(-2i / head_dim) per position before it. `divisors` [head_dim / 2 or none]
// are those that GGUF files store as rope_freqs.weight.
Rope make_rope(int head_dim, float theta, const RopeScaling& scaling,
               std::span<const float> divisors);

}  // namespace mlxd
