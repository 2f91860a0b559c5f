#pragma once

#include <cstddef>
#include <cstdint>

#include "prefix_store/store_stats.h"

namespace mlxd {

// What a model holds, in bytes.
struct MemoryUse {
  std::size_t weights = 0;
  std::size_t kv_cache = 0;  // blocks that requests hold or the prefix cache knows
  std::size_t states = 0;    // recurrent states, likewise
  std::size_t kv_reserved =
      0;                    // all blocks and states; most systems give it as it is first written
  std::size_t buffers = 0;  // of steps: values and logits; of blocks on their way to disk
};

struct EngineStats {
  int queued_requests = 0;         // accepted and not begun
  std::int64_t queued_tokens = 0;  // of their prompts
  int live_requests = 0;           // accepted and not ended; 0: a drain is over
  int running_sequences = 0;       // that hold KV blocks, the paused ones included
  int paused_sequences = 0;        // of these: their readers are behind
  int preempted_sequences = 0;     // had begun, gave up their blocks, and wait to be computed again
  int kv_blocks_used = 0;          // that requests hold
  int kv_blocks_cached = 0;  // that no request holds and the prefix cache knows: free when needed
  int kv_blocks_held = 0;  // of the full group, for sessions and pinned prefixes, in use or cached
  int kv_blocks_total = 0;
  // Of models with recurrent states, slots: those that requests hold, those that only the prefix
  // cache knows, free when needed, and all.
  int states_used = 0, states_cached = 0, states_total = 0;
  MemoryUse memory;
  std::uint64_t steps = 0;
  std::uint64_t prompt_tokens = 0;  // computed; not those found in the prefix cache
  std::uint64_t cached_prompt_tokens = 0;
  std::uint64_t generated_tokens = 0;
  std::uint64_t drafted_tokens = 0;   // guesses that were computed
  std::uint64_t accepted_tokens = 0;  // of these, those that came true: each saved a step
  std::uint64_t preemptions = 0;
  PrefixStoreStats prefix_store;
  double heartbeat_age_seconds = 0;  // since the inference thread last showed life; 0 when idle
  bool healthy = true;               // false: a step hangs, all fail, or the thread has died
  std::uint64_t hangs = 0;           // steps that did and cost requests, though they may have ended
};

}  // namespace mlxd
