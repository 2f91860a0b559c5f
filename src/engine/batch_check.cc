#include "engine/batch_check.h"

#include <algorithm>
#include <vector>

#include "base/check.h"

namespace mlxd {
namespace {

bool in_range(int value, int count) { return value >= 0 && value < count; }

// Positions that a row of the sequence reads or writes must have a block; those before the window
// of its first row need none.
void check_table(std::span<const int> table, const BatchSequence& sequence, const KvGroup& group,
                 int block_size, int blocks) {
  const int needed = (sequence.context_length + block_size - 1) / block_size;
  check(static_cast<int>(table.size()) >= needed,
        "a block table reaches to the sequence's last token");
  const int first_position = sequence.context_length - sequence.query_length;
  const int first_read = group.window > 0 ? std::max(0, first_position - group.window + 1) : 0;
  for (int i = 0; i < needed; ++i) {
    const bool let_go = table[i] == -1 && (i + 1) * block_size <= first_read;
    check(let_go || in_range(table[i], blocks), "a block table names blocks of the cache");
  }
}

void check_state(const BatchSequence& sequence, const RunnerInfo& info, int slots) {
  check(info.state_bytes > 0 || (sequence.state == -1 && sequence.saves.empty()),
        "states are of models that have some");
  check(sequence.state == -1 || in_range(sequence.state, slots), "a state is a slot of the cache");
  int last = sequence.first_row - 1;
  for (const StateSave& save : sequence.saves) {
    check(save.after_row > last && save.after_row < sequence.first_row + sequence.query_length,
          "states are saved after rows of their sequence, in order");
    check(in_range(save.slot, slots), "a state is saved to a slot of the cache");
    last = save.after_row;
  }
  if (info.state_bytes == 0) return;
  check((sequence.state == -1) == (sequence.context_length == sequence.query_length),
        "a sequence goes on from its state, and begins without one");
}

// No slot is saved to twice, and what a sequence reads is saved to by nobody else.
void check_slots(const Batch& batch, int slots) {
  std::vector<int> readers(slots, 0);
  std::vector<bool> saved(slots, false);
  for (const BatchSequence& sequence : batch.sequences) {
    if (sequence.state >= 0) ++readers[sequence.state];
  }
  for (const BatchSequence& sequence : batch.sequences) {
    for (const StateSave& save : sequence.saves) {
      check(!saved[save.slot], "a slot gets one state");
      saved[save.slot] = true;
      check(readers[save.slot] == (sequence.state == save.slot ? 1 : 0),
            "a slot that a sequence goes on from is not written by another");
    }
  }
}

void check_sequence(const Batch& batch, const BatchSequence& sequence, int first_row,
                    const RunnerInfo& info, const CacheSize& cache) {
  check(sequence.first_row == first_row && sequence.query_length > 0,
        "the sequences of a batch cover its rows in order");
  check(sequence.query_length <= batch.rows() - first_row, "a sequence ends within the batch");
  check(sequence.prompt_rows >= 0 && sequence.prompt_rows <= sequence.query_length,
        "the rows of a prompt are the first of its sequence");
  check(sequence.context_length >= sequence.query_length &&
            sequence.context_length <= info.context_length,
        "a sequence fits the model's context");
  for (std::size_t group = 0; group < info.kv.size(); ++group) {
    check_table(sequence.blocks[group], sequence, info.kv[group], info.block_size,
                cache.blocks[group]);
  }
  check_state(sequence, info, cache.states);
  for (int i = 0; i < sequence.query_length; ++i) {
    check(batch.positions[first_row + i] == sequence.context_length - sequence.query_length + i,
          "the rows of a sequence are its last tokens in order");
  }
}

// Rows that all see each other are together, and what they are pooled into is asked of the last.
void check_whole(const Batch& batch) {
  auto wanted = batch.wanted.begin();
  for (const BatchSequence& sequence : batch.sequences) {
    check(sequence.query_length == sequence.context_length,
          "a sequence that is not causal is in one step");
    check(sequence.second_begin >= 0 && sequence.second_begin < sequence.context_length,
          "a second text is within its sequence");
    const int last = sequence.first_row + sequence.query_length - 1;
    if (wanted != batch.wanted.end() && wanted->row == last) ++wanted;
  }
  check(wanted == batch.wanted.end(), "texts are pooled at their last rows");
}

void check_wanted(const WantedRow& wanted, const RunnerInfo& info) {
  if (wanted.output == RowOutput::pooled) {
    check(info.pooled_size > 0, "vectors are wanted of who pools");
  } else {
    check(info.causal, "a model that is not causal pools alone");
    check(wanted.output == RowOutput::logits || info.draws, "tokens are wanted of who draws");
  }
}

}  // namespace

void check_batch(const Batch& batch, const RunnerInfo& info, const CacheSize& cache, int draws) {
  check(cache.blocks.size() == info.kv.size(), "every KV group has its blocks");
  check(batch.positions.size() == batch.tokens.size(), "every row of a batch has a position");
  for (const int token : batch.tokens) {
    check(token < 0 ? in_range(~token, draws) : token < info.vocab_size,
          "a token is of the vocabulary");
  }
  int rows = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    check_sequence(batch, sequence, rows, info, cache);
    rows += sequence.query_length;
  }
  check(rows == batch.rows(), "every row of a batch belongs to a sequence");
  if (info.state_bytes > 0) check_slots(batch, cache.states);
  int last = -1;
  for (const WantedRow& wanted : batch.wanted) {
    check(wanted.row > last && wanted.row < rows, "wanted rows ascend within the batch");
    check_wanted(wanted, info);
    last = wanted.row;
  }
  if (!info.causal) check_whole(batch);
  for (const BlockCopy& copy : batch.block_copies) {
    check(in_range(copy.group, static_cast<int>(info.kv.size())), "copies name a KV group");
    check(in_range(copy.from, cache.blocks[copy.group]) &&
              in_range(copy.to, cache.blocks[copy.group]),
          "copied blocks are of the cache");
  }
}

}  // namespace mlxd
