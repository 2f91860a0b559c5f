#pragma once

#include "machine.h"

namespace mlxd::cpu {

// Enters the benchmarks of attention. `machine` must outlive them.
void register_attention(const Machine& machine);

}  // namespace mlxd::cpu
