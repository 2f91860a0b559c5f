#pragma once

#include <vector>

#include "engine/engine.h"
#include "engine/model_runner.h"

namespace mlxd {

// How the memory for KV is divided, decided once when a model is loaded.
struct CachePlan {
  CacheSize size;
  // By KV group. Of a windowed one: blocks that every running sequence may count on, which hold the
  // window of a row wherever that ends in a block, and one more while a step is under way. Of a
  // full one: 0, its sequences compete for what there is.
  std::vector<int> reserve;
  int max_sequences = 0;    // running at a time: as many as have their reserve in every group
  int sequence_blocks = 0;  // that one sequence can fill: its longest length
};

// A windowed group gets, for each running sequence, its reserve and as much again, in which the
// prefix cache keeps windows that nobody uses, and the blocks of one step's rows, so that a prompt
// is computed in chunks as large as without windows. All windowed groups together take half of
// `kv_bytes` at most, or all where no group is full: if that is not enough, what they have beyond
// the reserves is cut first, and then the number of sequences that run at a time. The full group
// has the rest, but no more than the running sequences could ever fill. Throws StartupError when
// not even one sequence has room, and for models with recurrent states, which have no slots yet.
//
// With `kv_blocks` the full group has so many, and a windowed one what it would have without a
// limit, but `kv_blocks` at most, or one reserve where that is more.
CachePlan plan_cache(const EngineOptions& options, const RunnerInfo& info);

}  // namespace mlxd
