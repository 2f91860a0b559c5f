#pragma once

#include "engine/model_runner.h"

namespace mlxd {

// The contract of a batch, the same for every backend: aborts when the engine broke a promise of
// batch.h, since reading on would touch memory that is not there, or another sequence's. Called by
// each runner's launch. `draws`: how many tokens of the step launched before rows may name. Linear
// in rows and blocks.
void check_batch(const Batch& batch, const RunnerInfo& info, const CacheSize& cache, int draws = 0);

}  // namespace mlxd
