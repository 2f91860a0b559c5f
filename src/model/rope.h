#pragma once

#include "model/model_config.h"
#include "model/model_plan.h"

namespace mlxd {

// The frequencies of rotary positions, every scaling worked in: pair i turns by
// theta^(-2i / dimensions) per position before it. `dimensions` is even.
Rope make_rope(const RopeConfig& config);

}  // namespace mlxd
