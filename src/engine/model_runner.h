// engine: requests become sequences, sequences become batches, logits become tokens. The one
// inference thread lives here; a backend is reached through ModelRunner alone, so nothing in this
// folder knows a device. serve/ submits jobs and reads their channels.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/batch.h"
#include "engine/draw.h"

namespace mlxd {

// Layers whose KV is kept and let go together.
struct KvGroup {
  std::size_t block_bytes = 0;  // memory of one block over the group's layers
  int window = 0;  // a row at position p reads positions p - window + 1 .. p; 0: all up to p
  bool operator==(const KvGroup&) const = default;
};

// Time of a step of 1, 4 and 16 decoded rows, in that of a step of one.
using RowCost = std::array<float, 3>;
// As measured on the cpu backend with SmolLM2 135M and Qwen2.5 1.5B, whose kernels compute four
// rows on the weights' way through the processor for hardly more than one.
inline constexpr RowCost kUsualRowCost = {1, 1.36f, 4.12f};

struct RunnerInfo {
  std::string backend;          // "cpu", "mlx", "fake"
  std::string instruction_set;  // "avx512_vnni", "" where it does not apply
  int vocab_size = 0;
  int context_length = 0;
  int block_size = 16;           // tokens in one KV block
  std::vector<KvGroup> kv;       // at most kMaxKvGroups; empty: a model without KV
  std::size_t state_bytes = 0;   // recurrent state of one sequence over all layers; 0: none
  std::size_t weight_bytes = 0;  // resident memory of the weights
  // Numbers that a text is pooled into (RowOutput::pooled); 0: it pools none.
  int pooled_size = 0;
  // A row sees those before it. Otherwise all rows of its sequence, which are then in one step, of
  // at most max(the steps' rows, context_length) rows; such a runner has no KV and pools alone.
  bool causal = true;
  // A row's logits are the same bits whatever else is in the batch and however the prompt was cut
  // into steps. Without it answers are as good, but not the same, and drafts are not made.
  bool rows_are_independent = true;
  // A row of a prompt is computed in another way than a generated one of the same token would be.
  // What is known of a prefix is then found only where its tokens have the same roles.
  bool has_roles = false;
  bool draws = false;  // it hands out tokens, for which it is told how to draw them
  // Steps that may be launched before the one launched first is waited for: 0, or with draws 1.
  int ahead = 0;
  RowCost row_cost = kUsualRowCost;
  // What an exported KV block or state is: its layout, and how its numbers are computed. To be
  // changed with either, so that none is imported that this runner would not have computed. "":
  // they cannot be exported.
  std::string kv_format;

  // Memory of one block in every group: of block_size tokens that no window has let go of.
  std::size_t block_bytes() const {
    std::size_t bytes = 0;
    for (const KvGroup& group : kv) bytes += group.block_bytes;
    return bytes;
  }
};

// For a sequence that has the same block ids in every group, as where one pool serves all.
inline std::array<std::span<const int>, kMaxKvGroups> tables_of(const RunnerInfo& info,
                                                                std::span<const int> blocks) {
  std::array<std::span<const int>, kMaxKvGroups> tables{};
  for (std::size_t group = 0; group < info.kv.size(); ++group) tables[group] = blocks;
  return tables;
}

// The largest step that a runner will be asked for.
struct StepLimits {
  int rows = 0;
  int wanted_rows = 0;  // of these
};

// What a runner will hold, told by its backend before anything is read or taken; RunnerInfo's
// figures of the same names.
struct RunnerMemory {
  std::size_t weight_bytes = 0;
  std::vector<KvGroup> kv;
  std::size_t state_bytes = 0;
  int block_size = 0;
  // Of the values between the operations of the largest step, its logits included, and of what else
  // is kept beside weights and cache, such as tables of rotary angles. An upper bound.
  std::size_t step_bytes = 0;
};

struct CacheSize {
  std::vector<int> blocks;  // by KV group
  int states = 0;           // slots

  std::size_t bytes(const RunnerInfo& info) const {
    std::size_t bytes = info.state_bytes * static_cast<std::size_t>(states);
    for (std::size_t group = 0; group < info.kv.size(); ++group) {
      bytes += info.kv[group].block_bytes * static_cast<std::size_t>(blocks[group]);
    }
    return bytes;
  }

  // As many blocks in every group.
  static CacheSize of(const RunnerInfo& info, int blocks, int states = 0) {
    return {std::vector<int>(info.kv.size(), blocks), states};
  }
};

// The KV cache and states of all sequences are gone, as when a device was reset; the runner goes on
// with an empty cache of the same size.
struct CacheLost : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A model on a device. All functions are called on the inference thread, which also constructs and
// destroys the runner.
//
// A step is launched, its tokens are asked for (where the runner draws), and it is waited for. With
// `ahead` 1 the next one may be launched in between, with rows whose token is yet to be drawn.
//
// What a failed step leaves: KV of its positions may be anything, and writing it again is harmless;
// a slot that it saves to is undefined. So it may be repeated, or parts of it, unless one of its
// saves is the slot that a sequence goes on from. A step launched behind a failed one fails too.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  virtual const RunnerInfo& info() const = 0;
  // Gives the cache so many blocks and slots; what it held is lost.
  virtual void resize_cache(const CacheSize& size) = 0;
  // Begins a step; copies of `batch` what it needs later. The tables and saves that it names are
  // there until the step was waited for, but for runners with `ahead`, which copy these too. Ends
  // the process when the batch breaks the contract of batch.h (check_batch). Throws std::exception
  // on failure: nothing was launched.
  virtual void launch(const Batch& batch) = 0;
  // Of a runner that draws, once for each step, while it runs: a grammar's mask needs the token
  // before. For the step launched last. Copies what it needs. May throw as launch: the step is to
  // be waited for all the same.
  virtual void draw(std::span<const Draw> draws);
  // Waits for the oldest step that was launched and hands out what was wanted of it. Throws
  // std::exception with which it failed, CacheLost among them; it is over then as well.
  virtual void wait(StepOutput& output) = 0;
  // Copies the contents of a KV block, block_bytes of its group, or of a slot, a piece of its
  // state_bytes from `offset` on, out and in; only where info().kv_format is not empty. Steps may
  // be in flight: what none of them writes is copied out, and what none of them reads or writes is
  // copied in. May throw std::exception.
  virtual void export_block(int group, int block, std::span<std::byte> contents) const;
  virtual void import_block(int group, int block, std::span<const std::byte> contents);
  virtual void export_state(int slot, std::size_t offset, std::span<std::byte> contents) const;
  virtual void import_state(int slot, std::size_t offset, std::span<const std::byte> contents);
  // Memory that the runner holds now beside weights and cache, in bytes.
  virtual std::size_t buffer_bytes() const { return 0; }

  // One step from beginning to end, without draws.
  void step(const Batch& batch, StepOutput& output) {
    launch(batch);
    wait(output);
  }
};

}  // namespace mlxd
