#include "backend/cpu/batch_check.h"

#include "base/check.h"

namespace mlxd::cpu {
namespace {

bool in_range(int value, int count) { return value >= 0 && value < count; }

void check_sequence(const Batch& batch, const BatchSequence& sequence, int first_row,
                    const RunnerInfo& info, int blocks) {
  check(sequence.first_row == first_row && sequence.query_length > 0,
        "the sequences of a batch cover its rows in order");
  check(sequence.query_length <= batch.rows() - first_row, "a sequence ends within the batch");
  check(sequence.context_length >= sequence.query_length &&
            sequence.context_length <= info.context_length,
        "a sequence fits the model's context");
  const std::size_t needed =
      (static_cast<std::size_t>(sequence.context_length) + info.block_size - 1) / info.block_size;
  check(sequence.blocks.size() >= needed, "a block table reaches to the sequence's last token");
  for (std::size_t i = 0; i < needed; ++i) {
    check(in_range(sequence.blocks[i], blocks), "a block table names blocks of the cache");
  }
  for (int i = 0; i < sequence.query_length; ++i) {
    check(batch.positions[first_row + i] == sequence.context_length - sequence.query_length + i,
          "the rows of a sequence are its last tokens in order");
  }
}

}  // namespace

void check_batch(const Batch& batch, const RunnerInfo& info, int blocks) {
  check(batch.positions.size() == batch.tokens.size(), "every row of a batch has a position");
  for (const int token : batch.tokens) {
    check(in_range(token, info.vocab_size), "a token is of the vocabulary");
  }
  int rows = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    check_sequence(batch, sequence, rows, info, blocks);
    rows += sequence.query_length;
  }
  check(rows == batch.rows(), "every row of a batch belongs to a sequence");
  int last = -1;
  for (const int row : batch.logit_rows) {
    check(row > last && row < rows, "logit rows ascend within the batch");
    last = row;
  }
  for (const auto& [from, to] : batch.block_copies) {
    check(in_range(from, blocks) && in_range(to, blocks), "copied blocks are of the cache");
  }
}

}  // namespace mlxd::cpu
