#include <random>

#include <gtest/gtest.h>

#include "engine/scheduler_fixture.h"

namespace mlxd {
namespace {

using testing::wanted_rows;

using SchedulerTest = testing::SchedulerFixture;

TEST_F(SchedulerTest, ComputesAPromptInChunksBesideDecodingSequences) {
  make({.max_sequences = 4, .max_step_tokens = 20, .max_logit_rows = 8, .block_size = 4}, 100);
  Sequence& first = add(3);
  step();
  Sequence& second = add(50);
  for (int i = 0; i < 2; ++i) {
    const Batch& batch = step();
    EXPECT_EQ(batch.rows(), 20);
    EXPECT_EQ(rows_of(first), 1);
    EXPECT_EQ(rows_of(second), 19);
    EXPECT_EQ(wanted_rows(batch), std::vector<int>{0}) << "the prompt gives none before its end";
  }
  step();
  EXPECT_EQ(rows_of(second), 12);
  EXPECT_EQ(wanted_rows(scheduler_->batch()), (std::vector<int>{0, 12}));
}

TEST_F(SchedulerTest, StartsRequestsInTheOrderInWhichTheyCame) {
  make({.max_sequences = 2, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 100);
  Sequence& a = add(5);
  Sequence& b = add(5);
  Sequence& c = add(5);
  step();
  EXPECT_TRUE(in_step(a) && in_step(b) && !in_step(c));
  scheduler_->remove(a);
  step();
  EXPECT_TRUE(in_step(b) && in_step(c));
}

TEST_F(SchedulerTest, CountsTheSamplesThatARequestWillForkInto) {
  make({.max_sequences = 4, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 100);
  Sequence& two = add(5, 2);
  Sequence& three = add(5, 3);
  step();
  EXPECT_TRUE(in_step(two));
  EXPECT_FALSE(in_step(three));
}

TEST_F(SchedulerTest, PreemptsTheYoungestWhenBlocksRunOutAndTheOldestGoesOn) {
  make({.max_sequences = 4, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 8);
  Sequence& old = add(7);
  Sequence& young = add(7);
  while (scheduler_->preemptions() == 0) {
    const int before = old.length();
    step();
    ASSERT_EQ(old.length(), before + 1);
  }
  EXPECT_EQ(young.state, Sequence::State::waiting);
  EXPECT_TRUE(young.blocks.empty());
  const int length = young.length();
  scheduler_->remove(old);
  step();
  EXPECT_EQ(rows_of(young), length) << "what it had drawn is computed again, not drawn again";
}

TEST_F(SchedulerTest, APausedSequenceIsNotScheduledAndKeepsItsBlocks) {
  make({.max_sequences = 4, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 100);
  Sequence& sequence = add(7);
  step();
  sequence.paused = true;
  step();
  EXPECT_FALSE(in_step(sequence));
  EXPECT_FALSE(sequence.blocks.empty());
  sequence.paused = false;
  step();
  EXPECT_TRUE(in_step(sequence));
}

TEST_F(SchedulerTest, TakesTheBlocksOfAPausedSequenceFirst) {
  make({.max_sequences = 4, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 8);
  Sequence& paused = add(15);
  step();
  paused.paused = true;
  Sequence& next = add(20);
  step();
  EXPECT_EQ(paused.state, Sequence::State::waiting);
  EXPECT_TRUE(in_step(next));
}

TEST_F(SchedulerTest, APreemptedSequenceFindsItsBlocksAgainWhereTheyAreStillThere) {
  make({.max_sequences = 4, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 8, true);
  Sequence& paused = add(15);
  step();
  paused.paused = true;
  Sequence& next = add(21);
  next.tokens.assign(21, 1);
  step();
  ASSERT_EQ(paused.state, Sequence::State::waiting);
  scheduler_->remove(next);
  paused.paused = false;
  step();
  EXPECT_EQ(rows_of(paused), 16 - 8) << "two of its three full blocks were not needed";
  EXPECT_EQ(paused.found_tokens, 8);
}

TEST_F(SchedulerTest, PrefixesThatOthersHoldCostNoMemory) {
  make({.max_sequences = 4, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 10, true);
  add(30);
  step();
  Sequence& same = add(28);
  step();
  EXPECT_EQ(rows_of(same), 4) << "it needs one block of its own beside the six it shares";
}

TEST_F(SchedulerTest, APausedSequenceGivesItsPlaceToAnOlderOneThatCanGoOn) {
  make({.max_sequences = 2, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 8);
  Sequence& oldest = add(3);
  Sequence& slow = add(15);
  step();
  slow.paused = true;
  while (slow.state == Sequence::State::running) step();  // its blocks are needed
  Sequence& young = add(3);
  scheduler_->remove(oldest);
  Sequence& youngest = add(3);
  step();
  young.paused = youngest.paused = true;
  Sequence& newcomer = add(3);
  step();
  EXPECT_FALSE(in_step(newcomer)) << "who comes later waits";
  slow.paused = false;
  step();
  EXPECT_TRUE(in_step(slow));
  EXPECT_EQ(young.state, Sequence::State::running);
  EXPECT_EQ(youngest.state, Sequence::State::waiting);
}

TEST_F(SchedulerTest, ForksShareBlocksAndCopyTheOneTheyWriteTo) {
  make({.max_sequences = 4, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 100);
  Sequence& parent = add(6, 2);
  step();
  parent.slots = 1;
  Sequence& child = *sequences_.emplace_back(std::make_unique<Sequence>());
  child.age = parent.age;
  child.sample = 1;
  child.tokens = parent.tokens;
  child.prompt_length = 6;
  want_last_logits(child);
  scheduler_->fork(parent, child);
  EXPECT_EQ(blocks_->used(), 2);
  step();
  EXPECT_EQ(scheduler_->batch().block_copies.size(), 1u) << "the last owner writes in place";
  EXPECT_EQ(parent.blocks.of(0)[0], child.blocks.of(0)[0]);
  EXPECT_NE(parent.blocks.of(0)[1], child.blocks.of(0)[1]);
  scheduler_->finish_step();
  EXPECT_EQ(blocks_->used(), 3);
}

TEST_F(SchedulerTest, BoundsTheRowsOfPromptLogprobsByTheReadersRoomAndByMemory) {
  make({.max_sequences = 4, .max_step_tokens = 64, .max_logit_rows = 10, .block_size = 4}, 100);
  Sequence& sequence = add(40);
  sequence.logits_from = 0;
  sequence.prompt_logit_limit = 7;
  EXPECT_EQ(step().wanted.size(), 7u);
  sequence.logits_from = 7;
  sequence.prompt_logit_limit = 30;
  EXPECT_EQ(step().wanted.size(), 10u);
  sequence.logits_from = 17;
  sequence.prompt_logit_limit = 0;
  EXPECT_EQ(step().rows(), 0);
}

TEST_F(SchedulerTest, ADraftedRowGivesLogitsAndItsBlockIsFreeAfterTheStep) {
  make({.max_sequences = 4, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 100);
  Sequence& sequence = add(3);
  step();
  sequence.draft = {5, 6, 7};
  sequence.draft_rows = 2;
  scheduler_->schedule();
  const Batch& batch = scheduler_->batch();
  EXPECT_EQ(batch.tokens, (std::vector<int>{0, 5, 6}));
  EXPECT_EQ(batch.positions, (std::vector<int>{3, 4, 5}));
  EXPECT_EQ(wanted_rows(batch), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(batch.sequences[0].blocks[0].size(), 2u);
  scheduler_->land(scheduler_->oldest());
  const Batch& single =
      scheduler_->single(scheduler_->oldest(), scheduler_->parts()[0].without_draft());
  EXPECT_EQ(single.tokens, std::vector<int>{0});
  EXPECT_EQ(wanted_rows(single), std::vector<int>{0});
  scheduler_->finish_step();
  EXPECT_EQ(blocks_->used(), 1);
}

TEST_F(SchedulerTest, DraftsTakeWhatRowsLogitsAndBlocksAreLeft) {
  const auto drafted_rows = [this](const SchedulerLimits& limits, int kv_blocks) {
    make(limits, kv_blocks);
    Sequence& first = add(4);
    Sequence& second = add(4);
    step();
    for (Sequence* sequence : {&first, &second}) {
      sequence->draft.assign(8, 0);
      sequence->draft_rows = 8;
    }
    step();
    return std::pair(rows_of(first) - 1, rows_of(second) - 1);
  };
  EXPECT_EQ(drafted_rows({4, 64, 64, 4}, 100), std::pair(8, 8));
  EXPECT_EQ(drafted_rows({4, 20, 64, 4}, 100), std::pair(8, 8));
  EXPECT_EQ(drafted_rows({4, 12, 64, 4}, 100), std::pair(8, 2));
  EXPECT_EQ(drafted_rows({4, 64, 5, 4}, 100), std::pair(3, 0));
  EXPECT_EQ(drafted_rows({4, 64, 64, 4}, 5), std::pair(7, 3)) << "the last block is the first's";
}

// Twice the same arrivals, pauses and ends, with and without drafts of which none comes true.
TEST_F(SchedulerTest, DraftsDisplaceAndPreemptNobody) {
  int drafted = 0;
  const auto run = [&](unsigned seed, bool drafting) {
    std::mt19937 random(seed), guesses(seed);
    sequences_.clear();
    make({.max_sequences = 6, .max_step_tokens = 24, .max_logit_rows = 12, .block_size = 4}, 20);
    std::vector<Sequence*> live;
    std::vector<std::vector<std::uint64_t>> steps;
    for (int i = 0; i < 300; ++i) {
      if (live.size() < 8 && random() % 2 == 0) live.push_back(&add(1 + random() % 20));
      for (Sequence* sequence : live) sequence->paused = random() % 8 == 0;
      for (Sequence* sequence : scheduler_->running()) {
        sequence->draft_rows = drafting && sequence->decoding() ? guesses() % 9 : 0;
        sequence->draft.assign(sequence->draft_rows, 1);
      }
      step();
      auto& told = steps.emplace_back();
      told.push_back(scheduler_->preemptions());
      for (const StepPart& part : scheduler_->parts()) {
        const StepPart plain = part.without_draft();
        told.insert(told.end(), {plain.sequence->age, std::uint64_t(plain.rows),
                                 std::uint64_t(plain.logit_rows)});
        drafted += part.drafted;
      }
      for (std::size_t j = live.size(); j-- > 0;) {
        if (live[j]->length() < 60 && random() % 40 != 0) continue;
        scheduler_->remove(*live[j]);
        live.erase(live.begin() + j);
      }
    }
    return steps;
  };
  for (unsigned seed = 0; seed < 10; ++seed) ASSERT_EQ(run(seed, true), run(seed, false)) << seed;
  EXPECT_GT(drafted, 1000);
}

// Random arrivals, pauses, cancels and ends. The reference is the definition: every step keeps to
// the limits, the oldest that may run runs, decoding rows go on beside prompts, and everyone ends.
TEST_F(SchedulerTest, KeepsItsPromisesOverThousandsOfRandomSteps) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    sequences_.clear();
    const int kv_blocks = 12 + static_cast<int>(random() % 30);
    const int most_tokens = 4 * kv_blocks;
    // With the cache: all sequences are of token 0, and so each other's prefixes.
    make({.max_sequences = 6, .max_step_tokens = 24, .max_logit_rows = 12, .block_size = 4},
         kv_blocks, /*with_cache=*/seed % 2 == 1);
    std::vector<Sequence*> live;
    std::vector<int> ends;
    for (int i = 0; i < 400; ++i) {
      while (i < 300 && live.size() < 12 && random() % 2 == 0) {
        const int prompt = 1 + static_cast<int>(random() % (most_tokens / 2));
        live.push_back(&add(prompt));
        ends.push_back(prompt + 1 + static_cast<int>(random() % (most_tokens / 2)));
      }
      for (Sequence* sequence : live) sequence->paused = i < 350 && random() % 8 == 0;
      std::vector<Sequence*> decoding;
      for (Sequence* sequence : live) {
        if (sequence->state == Sequence::State::running && sequence->decoding()) {
          decoding.push_back(sequence);
        }
      }
      const Batch& batch = step();
      ASSERT_LE(batch.rows(), 24);
      ASSERT_LE(batch.wanted.size(), 12u);
      ASSERT_LE(scheduler_->running().size(), 6u);
      for (Sequence* sequence : live) {
        ASSERT_FALSE(sequence->paused && in_step(*sequence));
      }
      for (Sequence* sequence : decoding) {
        ASSERT_TRUE(sequence->paused || in_step(*sequence) ||
                    sequence->state == Sequence::State::waiting)
            << "who decodes goes on, unless it was preempted";
      }
      const auto oldest = std::ranges::find_if(live, [](Sequence* s) { return !s->paused; });
      if (oldest != live.end() && (*oldest)->state == Sequence::State::running &&
          oldest == live.begin()) {
        ASSERT_TRUE(in_step(**oldest)) << "nothing holds up the oldest";
      }
      for (std::size_t j = live.size(); j-- > 0;) {
        if (live[j]->length() < ends[j] && random() % 200 != 0) continue;
        scheduler_->remove(*live[j]);
        live.erase(live.begin() + j);
        ends.erase(ends.begin() + j);
      }
    }
    for (int i = 0; !live.empty(); ++i) {
      ASSERT_LT(i, 5000) << "seed " << seed;
      for (Sequence* sequence : live) sequence->paused = false;
      step();
      for (std::size_t j = live.size(); j-- > 0;) {
        if (live[j]->length() < ends[j]) continue;
        scheduler_->remove(*live[j]);
        live.erase(live.begin() + j);
        ends.erase(ends.begin() + j);
      }
    }
    scheduler_->finish_step();
    EXPECT_EQ(blocks_->used(), 0);
  }
}

}  // namespace
}  // namespace mlxd
