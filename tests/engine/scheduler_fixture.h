#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "engine/scheduler.h"

namespace mlxd::testing {

inline std::vector<int> wanted_rows(const Batch& batch) {
  std::vector<int> rows;
  for (const WantedRow& wanted : batch.wanted) rows.push_back(wanted.row);
  return rows;
}

// A scheduler whose sequences draw token 0 for ever.
class SchedulerFixture : public ::testing::Test {
 protected:
  void make(const SchedulerLimits& limits, int kv_blocks, bool with_cache = false) {
    limits_ = limits;
    scheduler_.reset();
    cache_.reset();
    blocks_ = std::make_unique<BlockPools>(kv_blocks);
    if (with_cache) cache_ = std::make_unique<PrefixGroups>(*blocks_, limits.block_size);
    scheduler_ = std::make_unique<Scheduler>(limits, *blocks_, cache_.get());
  }

  struct Whose {
    int priority = 0;
    std::uint64_t caller = 0;
  };
  Sequence& add(int prompt_length, int slots = 1) { return add(prompt_length, Whose{}, slots); }
  Sequence& add(int prompt_length, Whose whose, int slots = 1) {
    Sequence& sequence = *sequences_.emplace_back(std::make_unique<Sequence>());
    sequence.priority = whose.priority;
    sequence.caller = whose.caller;
    sequence.age = sequences_.size();
    sequence.tokens.assign(prompt_length, 0);
    sequence.prompt_length = prompt_length;
    sequence.slots = slots;
    want_last_logits(sequence);
    scheduler_->add(sequence);
    return sequence;
  }

  static void want_last_logits(Sequence& sequence) {
    sequence.logits_from = sequence.length() - 1;
    sequence.logits_to = sequence.length();
  }

  const Batch& step() {
    scheduler_->schedule();
    scheduler_->check_integrity();
    for (const StepPart& part : scheduler_->parts()) {
      Sequence& sequence = *part.sequence;
      scheduler_->advance(part, part.rows - part.drafted);  // no draft comes true
      if (sequence.computed < sequence.length()) continue;
      sequence.tokens.push_back(0);
      want_last_logits(sequence);
    }
    return scheduler_->batch();
  }

  bool in_step(const Sequence& sequence) const {
    return std::ranges::count(scheduler_->parts(), &sequence, &StepPart::sequence) > 0;
  }
  int rows_of(const Sequence& sequence) const {
    for (const StepPart& part : scheduler_->parts()) {
      if (part.sequence == &sequence) return part.rows;
    }
    return 0;
  }

  SchedulerLimits limits_;
  std::unique_ptr<BlockPools> blocks_;
  std::unique_ptr<PrefixGroups> cache_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
};

}  // namespace mlxd::testing
