#include "engine/step_batch.h"

#include <algorithm>
#include <span>

namespace mlxd {

const Batch& StepBatch::build(const PlannedStep& step) {
  clear(step.saves.size());
  batch_.block_copies = step.copies;
  for (const StepPart& part : step.parts) append(step, part);
  return batch_;
}

const Batch& StepBatch::build_single(const PlannedStep& step, const StepPart& part) {
  clear(part.saves);
  const auto copies = step.copies.begin() + part.first_copy;
  batch_.block_copies.assign(copies, copies + part.copies);
  append(step, part);
  return batch_;
}

// What saves there will be must not move when others come.
void StepBatch::clear(std::size_t saves) {
  batch_.tokens.clear();
  batch_.positions.clear();
  batch_.sequences.clear();
  batch_.wanted.clear();
  saves_.clear();
  saves_.reserve(saves);
}

void StepBatch::append(const PlannedStep& step, const StepPart& part) {
  const Sequence& sequence = *part.sequence;
  const int first = part.first;
  BatchSequence& entry = batch_.sequences.emplace_back();
  entry.first_row = batch_.rows();
  entry.query_length = part.rows;
  entry.context_length = first + part.rows;
  entry.prompt_rows = std::clamp(sequence.prompt_length - first, 0, part.rows);
  const int blocks = (entry.context_length + block_size_ - 1) / block_size_;
  for (int group = 0; group < blocks_.kv_groups(); ++group) {
    entry.blocks[group] = std::span(sequence.blocks.of(group)).first(blocks);
  }
  entry.second_begin = sequence.second_begin;
  if (part.saves > 0) append_saves(step, part, entry);
  const int known = std::min(part.rows - part.drafted, sequence.length() - first);
  const auto from = sequence.tokens.begin() + first;
  batch_.tokens.insert(batch_.tokens.end(), from, from + known);
  if (known < part.rows - part.drafted) batch_.tokens.push_back(~sequence.draw_ahead);
  if (part.drafted > 0) {
    batch_.tokens.insert(batch_.tokens.end(), sequence.draft.begin(),
                         sequence.draft.begin() + part.drafted);
  }
  for (int i = 0; i < part.rows; ++i) batch_.positions.push_back(first + i);
  for (int i = 0; i < part.logit_rows; ++i) {
    const bool token = draws_ && i >= part.logit_rows - part.draws;
    const RowOutput output = sequence.pooled ? RowOutput::pooled
                             : token         ? RowOutput::token
                                             : RowOutput::logits;
    batch_.wanted.push_back({entry.first_row + part.first_logit - first + i, output});
  }
}

// Those of rows that are left out are not due.
void StepBatch::append_saves(const PlannedStep& step, const StepPart& part, BatchSequence& entry) {
  entry.state = part.state;
  const std::size_t before = saves_.size();
  for (const PlannedSave& save : std::span(step.saves).subspan(part.first_save, part.saves)) {
    if (save.length > entry.context_length) break;
    saves_.push_back({entry.first_row + save.length - part.first - 1, save.slot});
  }
  entry.saves = std::span(saves_).subspan(before);
}

}  // namespace mlxd
