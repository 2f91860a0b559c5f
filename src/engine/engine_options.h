#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace mlxd {

// Logits of prompt rows that a step may hold beside those of decoding sequences.
inline constexpr std::size_t kPromptLogitBytes = std::size_t{64} << 20;

// The prefix cache's tier on disk.
struct PrefixDiskOptions {
  std::string directory;  // "": none
  std::uint64_t max_bytes = std::uint64_t{8} << 30;
  // Says which weights, by their contents, and whose computation: blocks of one name are found by
  // all who give it. Called once while the engine starts, and only if blocks can go to disk; what
  // it throws costs the tier alone.
  std::function<std::string()> model;
};

struct EngineOptions {
  int max_queued_requests = 256;  // waiting beyond this: 429
  // Likewise, tokens of their prompts; a prompt that is longer is taken when nothing else waits.
  std::int64_t max_queued_tokens = 1 << 18;
  int max_running_sequences = 64;  // rows of a decode step
  int max_step_tokens = 512;       // rows of a step, prefill included
  // Prompts are cut so that a step takes about so long, as measured, and a slow machine with a long
  // prompt does not look hung. Beside sequences that decode they are cut smaller: StepPace.
  double target_step_seconds = 0.5;
  // Tokens at most that a decoding sequence guesses from its own text and checks in one step: the
  // same answers in fewer steps where a text repeats itself. 0: none.
  int max_draft_tokens = 8;
  int kv_blocks = 0;    // 0: as many as kv_bytes hold
  int state_slots = 0;  // of models with recurrent states; 0: likewise
  std::size_t kv_bytes = std::size_t{1} << 30;
  bool prefix_cache = true;         // prompts that begin alike are computed once while blocks last
  PrefixDiskOptions prefix_disk{};  // beyond that
  int channel_capacity = 256;    // events a slow reader may leave unread before its sequence pauses
  double hang_seconds = 10;      // a step longer than this makes the engine unhealthy
  bool check_integrity = false;  // after each step, for tests; debug builds do it whenever idle
};

}  // namespace mlxd
