// What one forward step computes, and what comes out of it: the data that engine and backends
// exchange. Built by the Scheduler.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/token_event.h"

namespace mlxd {

// Kinds of layers by what of their KV is kept (RunnerInfo::kv).
inline constexpr int kMaxKvGroups = 4;

// The recurrent state after a row of the step is also written to a slot.
struct StateSave {
  int after_row = 0;  // of the batch, a row of this sequence
  int slot = 0;
};

// One sequence's part of a batch. Its rows are consecutive and in the order of positions.
struct BatchSequence {
  int first_row = 0;
  int query_length = 0;    // rows in this step
  int context_length = 0;  // tokens in the KV cache after this step: position of the last row + 1
  // A block table for each KV group: position p is in blocks[group][p / block_size]. -1: let go; no
  // row of this step reads or writes there.
  std::array<std::span<const int>, kMaxKvGroups> blocks{};
  // Of a model with recurrent state: the slot with the state before the first row; -1: empty,
  // before the first token and only there. Several sequences may read one slot, which none of them
  // saves to; one that alone reads its slot may save to it (in place).
  int state = -1;
  std::span<const StateSave> saves{};  // ascending rows; no slot twice in a batch
  // Of a model that is not causal: positions from here on are of the second of two texts; 0: there
  // is but one.
  int second_begin = 0;
  // The first so many rows are of the request's prompt; those behind them were generated, or
  // guessed, however many are computed at once (RunnerInfo::has_roles).
  int prompt_rows = 0;
};

// What is handed out for a row.
enum class RowOutput : std::uint8_t {
  logits,  // [vocab_size]
  token,   // what is drawn for it, by a runner that draws
  pooled,  // [pooled_size]: of a sequence's last row, what its rows together are
};

struct WantedRow {
  int row = 0;
  RowOutput output = RowOutput::logits;
  bool operator==(const WantedRow&) const = default;
};

// Done before the step: copy-on-write.
struct BlockCopy {
  int group = 0;
  int from = 0, to = 0;
  bool operator==(const BlockCopy&) const = default;
};

struct Batch {
  // [rows]. A negative one, ~i, is what draw i of the step launched before gives (`ahead` runners).
  std::vector<int> tokens;
  std::vector<int> positions;  // [rows]
  std::vector<BatchSequence> sequences;
  std::vector<WantedRow> wanted;  // ascending rows
  std::vector<BlockCopy> block_copies;

  int rows() const { return static_cast<int>(tokens.size()); }
  void want_logits(int row) { wanted.push_back({row, RowOutput::logits}); }
};

// Reused from step to step so that nothing is allocated.
struct StepOutput {
  std::vector<float> logits;  // [wanted rows with RowOutput::logits, vocab_size]
  // Of a runner that draws: by draw, what draw() was asked for. Token -1: there was none to draw,
  // since the logits are not finite or all tokens are forbidden.
  std::vector<SampledToken> drawn;
  std::vector<float> pooled;  // [wanted rows with RowOutput::pooled, pooled_size]
};

}  // namespace mlxd
