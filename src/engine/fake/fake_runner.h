// engine/fake: a model without a model. Tests of the engine, of serve/ and of the server run on it
// in milliseconds, and it finds what a real model would forgive: it computes logits from the tokens
// that it reads back through the block tables of all KV groups, so a wrong table, a missed copy, a
// block that two sequences write or one that a window let go of too early gives other tokens. With
// recurrent states the logits depend on these as well, which it folds over a sequence's rows and
// has in slots alone, so that a wrong slot, or one that was written too early, shows likewise.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/model_runner.h"
#include "engine/sampler.h"

namespace mlxd {

struct FakeOptions {
  int vocab_size = 64;
  int context_length = 4096;
  int block_size = 4;
  // At least one, or states. Where a group has all positions, rows read these there; what a row
  // reads in windows must be the same tokens, and without such a group is all that it reads.
  std::vector<KvGroup> kv = {{.block_bytes = 1024}};
  std::size_t state_bytes = 0;  // of a sequence's recurrent state; 0: it has none
  // Numbers that a text is pooled into: a hash of its tokens, and of where its second text begins.
  int pooled_size = 0;
  bool causal = true;                // false, without KV: it pools alone, what is whole in a step
  bool rows_are_independent = true;  // what it says of itself; they are
  std::string kv_format = "fake-1";  // likewise; "": it exports no blocks
  bool has_roles = false;            // a generated token's row is not what a prompt's would be
  bool draws = false;                // it hands out tokens, drawn by a Sampler of its own
  int ahead = 0;                     // steps that may be launched before the oldest is waited for
  RowCost row_cost = kUsualRowCost;
  // Called on the inference thread before each step (tokens that were to come filled in; counted
  // from 0, repetitions included) with nothing written yet, before its tokens are drawn, and before
  // it is waited for: may sleep, throw, or wait for as long as a hang is wanted. A CacheLost thrown
  // by the last loses the cache indeed.
  std::function<void(const Batch&, std::uint64_t step)> before_step;
  std::function<void(std::uint64_t step)> before_draw;
  std::function<void(std::uint64_t step)> before_wait;
  // May change the logits of a row [vocab_size] that follow these tokens of its sequence.
  std::function<void(std::span<const int> history, std::span<float> logits)> edit_logits;
};

// Steps are computed as they are launched, one after the other, as a device would behind the host's
// back. What a failed step wrote, or one behind it, is made unreadable.
//
// Deterministic: a row's logits are a hash of its sequence's tokens up to there (and of their
// roles, if it has roles), or of those in the longest window where there are windows alone, and of
// its state, in [-4, 4).
class FakeRunner : public ModelRunner {
 public:
  explicit FakeRunner(FakeOptions options);

  const RunnerInfo& info() const override { return info_; }
  void resize_cache(const CacheSize& size) override;
  void launch(const Batch& planned) override;
  void draw(std::span<const Draw> draws) override;
  void wait(StepOutput& output) override;
  // A block's slots, at its beginning: block_bytes must hold them.
  void export_block(int group, int block, std::span<std::byte> contents) const override;
  void import_block(int group, int block, std::span<const std::byte> contents) override;
  // A state, likewise.
  void export_state(int slot, std::size_t offset, std::span<std::byte> contents) const override;
  void import_state(int slot, std::size_t offset, std::span<const std::byte> contents) override;

 private:
  struct Slot {
    int token = -1;
    int position = -1;
    int role = 0;  // FakeRunner::role_of
  };

  struct State {
    std::uint64_t hash = 0;  // of its tokens
    int length = 0;          // so many
  };

  struct Flight {
    std::uint64_t step = 0;
    StepOutput output;
    std::vector<float> drawable;  // [wanted tokens, vocab_size]
    std::vector<int> place;       // [wanted]: row of `drawable`, or -1
    std::vector<Slot*> written;   // of the cache
    std::vector<State*> saved;    // of the states
    bool failed = false;
  };

  std::span<const Slot> slots_of(int group, int block, std::size_t bytes) const;
  void copy_blocks(const Batch& batch, Flight& flight);
  void compute(const Batch& batch, Flight& flight);
  Slot& slot(const BatchSequence& sequence, int group, int position);
  int role_of(const BatchSequence& sequence, int row) const;
  int first_read(int group, int length) const;
  void read_history(const BatchSequence& sequence, int length);
  State state_before(const BatchSequence& sequence) const;
  std::uint64_t hash_history(std::uint64_t hash) const;
  void write_logits(const State& state, std::span<float> logits);
  void pool(const BatchSequence& sequence, std::vector<float>& pooled);
  void spoil(Flight& flight);

  const FakeOptions options_;
  RunnerInfo info_;
  CacheSize size_;
  std::vector<std::vector<Slot>> cache_;  // [groups][blocks, block_size]
  std::vector<State> states_;             // [slots]
  std::deque<Flight> flights_;            // the oldest first
  Flight spare_;                          // its memory is used again
  std::vector<int> drawn_;                // by the step launched last
  Sampler sampler_;
  std::vector<int> history_, roles_;
  std::uint64_t steps_ = 0;
};

// For edit_logits: makes `next(history)` certain, where it is not negative. So a test writes a
// model's answer as a function.
std::function<void(std::span<const int>, std::span<float>)> certain_next_token(
    std::function<int(std::span<const int>)> next);

}  // namespace mlxd
