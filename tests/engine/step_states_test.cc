// Recurrent states as the Scheduler plans them: slots that sequences go on from, and snapshots.
#include "engine/step_states.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "engine/scheduler.h"

namespace mlxd {
namespace {

constexpr int kBlock = 4;

class StepStatesTest : public ::testing::Test {
 protected:
  void make(int slots, int sequences = 2, int snapshot_blocks = 100) {
    SchedulerLimits limits{.max_sequences = sequences,
                           .max_step_tokens = 64,
                           .max_logit_rows = 64,
                           .block_size = kBlock,
                           .snapshot_blocks = snapshot_blocks};
    scheduler_.reset();
    cache_.reset();
    pool_ = std::make_unique<StatePool>(slots);
    blocks_ = std::make_unique<BlockPools>(200);
    cache_ = std::make_unique<PrefixGroups>(*blocks_, kBlock, pool_.get());
    scheduler_ = std::make_unique<Scheduler>(limits, *blocks_, cache_.get(), pool_.get());
  }

  Sequence& add(int prompt_length, int first_token = 0, std::vector<int> borders = {}) {
    Sequence& sequence = *sequences_.emplace_back(std::make_unique<Sequence>());
    sequence.age = sequences_.size();
    for (int i = 0; i < prompt_length; ++i) sequence.tokens.push_back(first_token + i);
    sequence.prompt_length = prompt_length;
    borders_.push_back(std::make_unique<std::vector<int>>(std::move(borders)));
    sequence.borders = *borders_.back();
    want_last_logits(sequence);
    scheduler_->add(sequence);
    return sequence;
  }
  static void want_last_logits(Sequence& sequence) {
    sequence.logits_from = sequence.length() - 1;
    sequence.logits_to = sequence.length();
  }

  const Batch& plan() {
    scheduler_->schedule();
    scheduler_->check_integrity();
    return scheduler_->batch();
  }
  // The step worked; of drafts so many came true.
  void finish(int accepted = 0) {
    scheduler_->land(scheduler_->oldest());
    for (const StepPart& part : scheduler_->parts()) {
      Sequence& sequence = *part.sequence;
      scheduler_->advance(part, part.rows - part.drafted);
      if (sequence.computed < sequence.length()) continue;
      for (int i = 0; i <= std::min(accepted, part.drafted); ++i) {
        sequence.tokens.push_back(i < part.drafted ? sequence.draft[i] : 7);
        if (i < std::min(accepted, part.drafted)) scheduler_->advance(part, 1);
      }
      want_last_logits(sequence);
    }
    scheduler_->finish_step();
    scheduler_->check_integrity();
  }
  void step() {
    plan();
    finish();
  }
  void run(Sequence& sequence, int steps) {
    for (int i = 0; i < steps; ++i) step();
    scheduler_->remove(sequence);
  }

  // Saves of the step's only sequence: lengths of its text.
  std::vector<int> saved_lengths(const Batch& batch) {
    const BatchSequence& rows = batch.sequences.at(0);
    std::vector<int> lengths;
    for (const StateSave& save : rows.saves) {
      lengths.push_back(rows.context_length - rows.query_length + save.after_row - rows.first_row +
                        1);
    }
    return lengths;
  }

  std::unique_ptr<StatePool> pool_;
  std::unique_ptr<BlockPools> blocks_;
  std::unique_ptr<PrefixGroups> cache_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::vector<std::unique_ptr<std::vector<int>>> borders_;
};

TEST_F(StepStatesTest, ASequenceGoesOnFromOneSlotToAnother) {
  make(8);
  add(3);
  const Batch& first = plan();
  EXPECT_EQ(first.sequences[0].state, -1);
  ASSERT_EQ(saved_lengths(first), std::vector<int>{3});
  const int saved = first.sequences[0].saves[0].slot;
  finish();
  const Batch& second = plan();
  EXPECT_EQ(second.sequences[0].state, saved);
  ASSERT_EQ(saved_lengths(second), std::vector<int>{4});
  EXPECT_NE(second.sequences[0].saves[0].slot, saved);
}

TEST_F(StepStatesTest, WhereSlotsAreShortItSavesInPlaceAndIsComputedAgainIfThatFails) {
  make(3);
  Sequence& a = add(3);
  Sequence& b = add(3, 50);
  step();
  const Batch& batch = plan();
  ASSERT_EQ(batch.sequences.size(), 2u);
  EXPECT_FALSE(scheduler_->parts()[0].in_place()) << "one slot is to spare";
  EXPECT_TRUE(scheduler_->parts()[1].in_place());
  scheduler_->land(scheduler_->oldest());
  scheduler_->recompute(b);
  EXPECT_EQ(b.state, Sequence::State::waiting);
  EXPECT_EQ(b.recurrent.slot, -1);
  EXPECT_TRUE(b.blocks.empty());
  scheduler_->advance(scheduler_->parts()[0], 1);
  a.tokens.push_back(7);
  want_last_logits(a);
  scheduler_->finish_step();
  scheduler_->check_integrity();
  for (int i = 0; i < 5; ++i) {
    plan();
    for (const StepPart& part : scheduler_->parts()) {
      EXPECT_FALSE(part.sequence == &b && part.in_place()) << "once is enough";
    }
    finish();
  }
  EXPECT_GT(b.length(), 4);
}

TEST_F(StepStatesTest, EverySequenceGoesOnWithOneSlotMoreThanThereAreSequences) {
  make(5, 4);
  for (int i = 0; i < 4; ++i) add(3, 20 * i);
  for (int i = 0; i < 20; ++i) step();
  for (const auto& sequence : sequences_) EXPECT_EQ(sequence->length(), 23);
}

TEST_F(StepStatesTest, ChildrenShareTheStateUntilTheyGoOn) {
  make(5, 4);
  Sequence& parent = add(6);
  parent.slots = 4;
  plan();
  finish();
  parent.slots = 1;
  for (int i = 1; i < 4; ++i) {
    Sequence& child = *sequences_.emplace_back(std::make_unique<Sequence>());
    child.age = parent.age;
    child.sample = i;
    child.tokens = parent.tokens;
    child.prompt_length = parent.prompt_length;
    want_last_logits(child);
    scheduler_->fork(parent, child);
  }
  EXPECT_EQ(pool_->used(), 1);
  for (int i = 0; i < 10; ++i) step();
  EXPECT_EQ(pool_->used(), 4);
  for (const auto& sequence : sequences_) EXPECT_GE(sequence->length(), 15);
}

TEST_F(StepStatesTest, OfAPromptTheStateBeforeItsLastTokenAndAtBordersIsKept) {
  make(12);
  Sequence& sequence = add(22, 0, {9, 14, 15});
  EXPECT_EQ(saved_lengths(plan()), (std::vector<int>{8, 12, 20, 22}));
  finish();
  scheduler_->remove(sequence);
  const std::vector<int>& tokens = sequence.tokens;
  EXPECT_EQ(pool_->idle(), 3);
  const auto found = [&](int count) { return cache_->find(0, std::span(tokens).first(count)); };
  EXPECT_EQ(found(22).size(), 5);
  EXPECT_EQ(found(19).size(), 3) << "there are blocks for 16 tokens, but a state after 12";
  EXPECT_EQ(found(11).size(), 2);
  EXPECT_EQ(found(7).size(), 0);
  EXPECT_GE(cache_->state_after(found(22)), 0);
}

TEST_F(StepStatesTest, ALongPromptHasOneEverySoManyBlocks) {
  make(30, 2, /*snapshot_blocks=*/3);
  Sequence& sequence = add(50);
  EXPECT_EQ(saved_lengths(plan()), (std::vector<int>{12, 24, 36, 48, 50}));
  finish();
  scheduler_->remove(sequence);
  EXPECT_EQ(pool_->idle(), 4);
}

TEST_F(StepStatesTest, WhatEndsWithAPieceOfAPromptByChanceIsNotKept) {
  make(12);
  Sequence& sequence = add(100);
  scheduler_->set_step_tokens(16);
  for (int i = 0; i < 7; ++i) step();
  scheduler_->remove(sequence);
  EXPECT_EQ(pool_->idle(), 2) << "before the last token, and the end of the block with it";
}

TEST_F(StepStatesTest, AFinishedAnswerCanBeContinuedFromItsLastBlock) {
  make(12);
  Sequence& sequence = add(6);
  run(sequence, 9);  // 14 tokens in the cache
  std::vector<int> next = sequence.tokens;
  next.push_back(9);
  EXPECT_EQ(cache_->find(0, next).size(), 3);
  Sequence& again = add(0);
  again.tokens = next;
  again.prompt_length = again.length();
  want_last_logits(again);
  const Batch& batch = plan();
  EXPECT_EQ(batch.positions[0], 12);
  EXPECT_GE(batch.sequences[0].state, 0);
}

TEST_F(StepStatesTest, OfAnAnswerTheLastSnapshotOutlivesThoseBefore) {
  make(5, 1);
  Sequence& sequence = add(6);
  run(sequence, 30);  // 35 tokens
  const std::span<const int> tokens = sequence.tokens;
  EXPECT_EQ(cache_->find(0, tokens).size(), 8);
  Sequence& other = add(9, 300);
  run(other, 10);
  EXPECT_EQ(cache_->find(0, tokens).size(), 8) << "older ones went first";
  EXPECT_EQ(cache_->find(0, tokens.first(31)).size(), 0);
}

TEST_F(StepStatesTest, SnapshotsTakeNoSlotThatASequenceNeeds) {
  make(3, 2, /*snapshot_blocks=*/1);
  add(50);
  add(50, 100);
  for (int i = 0; i < 4; ++i) {
    plan();
    EXPECT_EQ(scheduler_->parts().size(), 2u);
    finish();
  }
}

TEST_F(StepStatesTest, OfADraftThatComesTrueInPartTheTokensAreFedAgain) {
  for (const int accepted : {0, 1, 2, 3}) {
    SCOPED_TRACE(accepted);
    make(8);
    Sequence& sequence = add(4);
    step();  // 5 tokens
    sequence.draft = {11, 12, 13};
    sequence.draft_rows = 3;
    EXPECT_EQ(saved_lengths(plan()), (std::vector<int>{5, 8}));
    finish(accepted);
    sequence.draft.clear();
    sequence.draft_rows = 0;
    EXPECT_TRUE(sequence.decoding());
    const Batch& batch = plan();
    const int from = accepted == 3 ? 8 : 5;
    EXPECT_EQ(batch.positions.front(), from);
    EXPECT_EQ(batch.positions.back(), 5 + accepted);
    EXPECT_EQ(batch.wanted.size(), 1u);
    EXPECT_EQ(batch.wanted[0].row, batch.rows() - 1);
    scheduler_->remove(sequence);
  }
}

TEST_F(StepStatesTest, ADraftNeedsNoSlotOfItsOwn) {
  make(3, 2);
  Sequence& sequence = add(4);
  Sequence& other = add(4, 50);
  step();
  for (Sequence* drafting : {&sequence, &other}) {
    drafting->draft = {11, 12};
    drafting->draft_rows = 2;
  }
  const Batch& batch = plan();
  EXPECT_EQ(batch.rows(), 6);
  finish(1);
  for (Sequence* drafting : {&sequence, &other}) drafting->draft.clear(), drafting->draft_rows = 0;
  EXPECT_EQ(plan().rows(), 4);
  finish();
  EXPECT_EQ(sequence.computed, 7);
}

TEST_F(StepStatesTest, APreemptedSequenceComesBackFromItsLastBlock) {
  make(8, 1);
  Sequence& sequence = add(6);
  for (int i = 0; i < 8; ++i) step();  // 13 tokens in the cache
  Sequence& urgent = *sequences_.emplace_back(std::make_unique<Sequence>());
  urgent.age = 100;
  urgent.priority = 5;
  urgent.tokens = {900, 901};
  urgent.prompt_length = 2;
  want_last_logits(urgent);
  scheduler_->add(urgent);
  step();
  EXPECT_EQ(sequence.state, Sequence::State::waiting);
  scheduler_->remove(urgent);
  EXPECT_EQ(plan().positions.front(), 12);
}

TEST_F(StepStatesTest, WhatAFailedSequenceKeptIsNotFound) {
  make(8);
  Sequence& sequence = add(22);
  for (int i = 0; i < 6; ++i) step();
  scheduler_->discard(sequence);
  EXPECT_EQ(pool_->available(), 8);
  EXPECT_EQ(pool_->idle(), 0);
  EXPECT_EQ(cache_->find(0, sequence.tokens).size(), 0);
  scheduler_->check_integrity();
}

TEST_F(StepStatesTest, AfterAResetAllSlotsAreFree) {
  make(8);
  Sequence& a = add(22);
  add(5, 100);
  step();
  plan();
  scheduler_->reset();
  for (const auto& sequence : sequences_) scheduler_->restart(*sequence);
  EXPECT_EQ(pool_->available(), 8);
  EXPECT_EQ(a.recurrent.slot, -1);
  scheduler_->check_integrity();
  step();
  EXPECT_EQ(a.length(), 24);
}

}  // namespace
}  // namespace mlxd
