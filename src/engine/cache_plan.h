#pragma once

#include <vector>

#include "engine/engine.h"
#include "engine/model_runner.h"

namespace mlxd {

// How the memory for KV is divided, decided once when a model is loaded.
struct CachePlan {
  CacheSize size;
  // Of a model without a full KV group: blocks of tokens alone, which take no memory of the cache
  // and stand in its place (BlockPools). Otherwise 0.
  int token_blocks = 0;
  // By KV group. Of a windowed one: blocks that every running sequence may count on, which hold the
  // window of a row wherever that ends in a block, and one more while a step is under way. Of a
  // full one: 0, its sequences compete for what there is.
  std::vector<int> reserve;
  int max_sequences = 0;    // running at a time: as many as have their reserve in every group
  int sequence_blocks = 0;  // that one sequence can fill: its longest length
  // Of a windowed group, what all reserves take: each that may have forked has one block more,
  // while that is copied whose place another takes.
  int reserved(std::size_t group) const {
    return max_sequences * (reserve[group] + (max_sequences > 1));
  }
  // Of recurrent states in the prefix cache: blocks between two in a long prompt, so many that they
  // take no more memory than its KV.
  int snapshot_blocks = 1;
};

// A windowed group gets, for each running sequence, its reserve and as much again, in which the
// prefix cache keeps windows that nobody uses, and the blocks of one step's rows, so that a prompt
// is computed in chunks as large as without windows. All windowed groups together take half of
// `kv_bytes` at most, or all where no group is full: if that is not enough, what they have beyond
// the reserves is cut first, and then the number of sequences that run at a time. The full group
// has the rest, but no more than the running sequences could ever fill. Throws StartupError when
// not even one sequence has room.
//
// Recurrent states come before both and take half of `kv_bytes` at most, or all of a model without
// KV. A running sequence needs a slot, and one more with each step that is planned for it, so as to
// keep what that goes on from; another lets the prefix cache have a snapshot for it. Fewer
// sequences run rather than that they have less, down to one. Beyond that there are as many
// snapshots as half of the memory holds, but no more than blocks of the full group.
//
// With `kv_blocks` the full group has so many, and a windowed one what it would have without a
// limit, but `kv_blocks` at most, or one reserve where that is more; the snapshots are those of so
// many blocks. With `state_slots` there are so many, and fewer sequences run than that.
//
// Where no group is full there are as many blocks of tokens as the running sequences could ever
// fill, but no more than for a million tokens, or for one sequence where that is longer: each takes
// some 300 bytes of bookkeeping.
CachePlan plan_cache(const EngineOptions& options, const RunnerInfo& info);

}  // namespace mlxd
