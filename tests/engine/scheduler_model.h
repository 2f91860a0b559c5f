// What scheduler_model_test.cc plays with: sequences that know what they will say, and a cache that
// tells whether a step finds what is theirs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "engine/batch_check.h"
#include "engine/planned_step.h"

namespace mlxd::testing {

inline int token_of(std::uint64_t text, int index) {
  std::uint64_t hash = (text * 1000 + index) * 0x9E3779B97F4A7C15;
  return static_cast<int>((hash ^ hash >> 31) % 50);
}

// One sequence, with what the engine would know of it.
struct Life {
  Sequence sequence;
  std::uint64_t text = 0;  // what it will say
  int end = 0;             // its length when it is over
  int samples = 1;         // that are still to be forked
  bool prompt_logits = false;
  int logits_seen = 0;  // rows of the prompt whose logits were computed
  std::vector<int> borders;
  std::vector<HeldPrefix> holds;
  // As of before the step.
  Sequence::State was = Sequence::State::waiting;
  bool decoded = false;

  void want_logits() {
    const int last = sequence.length() - 1;
    sequence.logits_from = prompt_logits ? std::min(logits_seen, last) : last;
    sequence.logits_to = sequence.length();
  }
};

// A cache that remembers which token of whom was written where, and over which tokens a state was
// folded: a step is right when each of its rows finds the sequence's own tokens before it, in the
// blocks of every group and in its state.
class ModelCache {
 public:
  // The token of a sequence at an index, drawn already or to come.
  using TokenAt = std::function<int(const Sequence&, int index)>;

  ModelCache(const RunnerInfo& info, const CacheSize& size, TokenAt token_at)
      : info_(info), size_(size), token_at_(std::move(token_at)), states_(size.states, kLost) {
    for (const int blocks : size.blocks) kv_.emplace_back(blocks * info.block_size);
  }

  // The batch of these parts.
  void compute(const Batch& batch, std::span<const StepPart> parts) {
    ASSERT_EQ(batch.sequences.size(), parts.size());
    check_batch(batch, info_, size_, 1000);
    for (const auto& [group, from, to] : batch.block_copies) {
      const auto cells = kv_[group].begin();
      std::copy_n(cells + from * info_.block_size, info_.block_size, cells + to * info_.block_size);
    }
    for (std::size_t i = 0; i < parts.size(); ++i) write(batch, batch.sequences[i], parts[i]);
    for (std::size_t i = 0; i < parts.size(); ++i) read(batch.sequences[i], parts[i]);
  }

  // The step failed: what it wrote may be anything.
  void spoil(const Batch& batch) {
    for (const BatchSequence& rows : batch.sequences) {
      for (int group = 0; group < groups(); ++group) {
        for (int i = rows.context_length - rows.query_length; i < rows.context_length; ++i) {
          cell(rows, group, i) = {};
        }
      }
      for (const StateSave& save : rows.saves) states_[save.slot] = kLost;
    }
  }

 private:
  struct Cell {
    std::uint64_t salt = 0;
    int token = -1;
    int position = -1;
    bool generated = false;  // where that makes a difference
    bool operator==(const Cell&) const = default;
  };
  static constexpr std::uint64_t kLost = 1;

  int groups() const { return static_cast<int>(kv_.size()); }

  static std::uint64_t fold(std::uint64_t state, const Cell& cell) {
    return (state + static_cast<std::uint64_t>(cell.token) + 7 + 1000 * cell.generated) *
               0x9E3779B97F4A7C15 ^
           state >> 29;
  }
  std::uint64_t state_after(const Sequence& sequence, int length) const {
    std::uint64_t state = sequence.cache_salt << 8;
    for (int i = 0; i < length; ++i) state = fold(state, cell_of(sequence, i));
    return state;
  }
  // What is to be found of its token.
  Cell cell_of(const Sequence& sequence, int index) const {
    return {sequence.cache_salt, token_at_(sequence, index), index,
            info_.has_roles && index >= sequence.prompt_length};
  }

  void write(const Batch& batch, const BatchSequence& rows, const StepPart& part) {
    const Sequence& sequence = *part.sequence;
    const int first = rows.context_length - rows.query_length;
    std::uint64_t state = sequence.cache_salt << 8;
    if (rows.state >= 0) {
      state = states_.at(rows.state);
      ASSERT_EQ(state, state_after(sequence, first)) << "another sequence's state, or a stale one";
    }
    auto save = rows.saves.begin();
    for (int i = 0; i < rows.query_length; ++i) {
      const int row = rows.first_row + i;
      int token = batch.tokens[row];
      if (token < 0) token = token_at_(sequence, first + i);
      const Cell written = {sequence.cache_salt, token, first + i,
                            info_.has_roles && i >= rows.prompt_rows};
      for (int group = 0; group < groups(); ++group) cell(rows, group, first + i) = written;
      state = fold(state, written);
      if (save != rows.saves.end() && save->after_row == row) states_.at((save++)->slot) = state;
    }
  }

  void read(const BatchSequence& rows, const StepPart& part) {
    const Sequence& sequence = *part.sequence;
    const int known = std::min(rows.context_length, sequence.length());
    const int first = rows.context_length - rows.query_length;
    for (int group = 0; group < groups(); ++group) {
      const int window = info_.kv[group].window;
      for (int position = window > 0 ? std::max(first - window + 1, 0) : 0; position < known;
           ++position) {
        ASSERT_EQ(cell(rows, group, position), cell_of(sequence, position))
            << "somebody else's, or stale";
      }
    }
  }

  Cell& cell(const BatchSequence& rows, int group, int position) {
    const int block = rows.blocks[group][position / info_.block_size];
    EXPECT_GE(block, 0) << "let go too early";
    return kv_[group].at(static_cast<std::size_t>(block) * info_.block_size +
                         position % info_.block_size);
  }

  const RunnerInfo info_;
  const CacheSize size_;
  const TokenAt token_at_;
  std::vector<std::vector<Cell>> kv_;  // [groups][blocks, block_size]
  std::vector<std::uint64_t> states_;  // [slots]
};

}  // namespace mlxd::testing
