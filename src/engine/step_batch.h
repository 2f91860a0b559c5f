#pragma once

#include <vector>

#include "engine/batch.h"
#include "engine/block_pools.h"
#include "engine/planned_step.h"

namespace mlxd {

// A planned step as the runner reads it. The batch names the sequences' block tables: it is valid
// until these change, or something else is built here. Its memory is used again.
class StepBatch {
 public:
  // `draws`: the runner hands out tokens, and logits only of prompts.
  StepBatch(const BlockPools& blocks, int block_size, bool draws)
      : blocks_(blocks), block_size_(block_size), draws_(draws) {}

  const Batch& build(const PlannedStep& step);
  // One part of a step, alone, or less of it.
  const Batch& build_single(const PlannedStep& step, const StepPart& part);
  const Batch& batch() const { return batch_; }

 private:
  void clear(std::size_t saves);
  void append(const PlannedStep& step, const StepPart& part);
  void append_saves(const PlannedStep& step, const StepPart& part, BatchSequence& entry);

  const BlockPools& blocks_;
  const int block_size_;
  const bool draws_;
  Batch batch_;
  std::vector<StateSave> saves_;  // that the batch's sequences name
};

}  // namespace mlxd
