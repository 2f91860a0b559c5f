#pragma once

#include "engine/model_runner.h"

namespace mlxd::cpu {

// Aborts when the engine broke a promise of model_runner.h: reading on would touch memory that is
// not there, or another sequence's. Linear in rows and blocks.
void check_batch(const Batch& batch, const RunnerInfo& info, int blocks);

}  // namespace mlxd::cpu
