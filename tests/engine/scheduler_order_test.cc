// Whose turn it is: priorities, callers, age; and who gives up what for whom.
#include <random>

#include <gtest/gtest.h>

#include "engine/scheduler_fixture.h"

namespace mlxd {
namespace {

using SchedulerOrder = testing::SchedulerFixture;

TEST_F(SchedulerOrder, BeginsWithTheHighestPriority) {
  make({.max_sequences = 2, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 100);
  Sequence& low = add(5);
  Sequence& high = add(5, {.priority = 2});
  Sequence& higher = add(5, {.priority = 9, .caller = 7});
  step();
  EXPECT_TRUE(in_step(high) && in_step(higher) && !in_step(low));
}

TEST_F(SchedulerOrder, PreemptsTheYoungestOfTheLowestPriorityWhenBlocksRunOut) {
  make({.max_sequences = 4, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 9);
  Sequence& old = add(7);
  Sequence& young = add(7);
  Sequence& urgent = add(7, {.priority = 1});
  while (scheduler_->preemptions() == 0) step();
  EXPECT_EQ(young.state, Sequence::State::waiting);
  while (scheduler_->preemptions() == 1) step();
  EXPECT_EQ(old.state, Sequence::State::waiting);
  EXPECT_TRUE(in_step(urgent));
}

TEST_F(SchedulerOrder, AnUrgentSequenceTakesThePlaceOfTheYoungestLessUrgentOne) {
  make({.max_sequences = 2, .max_step_tokens = 64, .max_logit_rows = 8, .block_size = 4}, 100);
  Sequence& old = add(5);
  Sequence& young = add(5);
  step();
  Sequence& urgent = add(5, {.priority = 1});
  Sequence& same = add(5);
  step();
  EXPECT_TRUE(in_step(urgent) && in_step(old));
  EXPECT_EQ(young.state, Sequence::State::waiting);
  scheduler_->remove(urgent);
  step();
  EXPECT_EQ(rows_of(young), 6) << "it comes back before who came later, with what it had drawn";
  EXPECT_FALSE(in_step(same));
}

TEST_F(SchedulerOrder, AnUrgentSequenceTakesTheBlocksOfLessUrgentOnesAndOnlyWhereThatIsEnough) {
  make({.max_sequences = 8, .max_step_tokens = 64, .max_logit_rows = 9, .block_size = 4}, 16);
  Sequence& peer = add(18, {.priority = 5});
  Sequence& a = add(10);
  Sequence& b = add(10);
  step();
  Sequence& large = add(44, {.priority = 5});  // not beside its peer
  step();
  EXPECT_TRUE(in_step(peer) && in_step(a) && in_step(b));
  scheduler_->remove(large);
  Sequence& urgent = add(16, {.priority = 5});
  step();
  EXPECT_TRUE(in_step(peer) && in_step(a) && in_step(urgent));
  EXPECT_EQ(b.state, Sequence::State::waiting) << "one was enough";
}

// A caller with 200 requests, and one that comes with a single one.
TEST_F(SchedulerOrder, ASingleRequestBeginsInTheNextStepHoweverManyAnotherCallerHas) {
  make({.max_sequences = 64, .max_step_tokens = 256, .max_logit_rows = 99, .block_size = 4}, 9999);
  for (int i = 0; i < 200; ++i) add(100, {.caller = 1});
  for (int i = 0; i < 5; ++i) step();
  Sequence& single = add(40, {.caller = 2});
  step();
  EXPECT_EQ(rows_of(single), 40);
}

TEST_F(SchedulerOrder, PromptsOfSeveralCallersShareAStepAndOneAloneHasAllOfIt) {
  make({.max_sequences = 8, .max_step_tokens = 256, .max_logit_rows = 9, .block_size = 4}, 9999);
  Sequence& a = add(1000, {.caller = 1});
  step();
  EXPECT_EQ(rows_of(a), 256);
  Sequence& b = add(1000, {.caller = 2});
  step();  // evens out the first
  EXPECT_EQ(rows_of(b), 256);
  step();
  EXPECT_EQ(rows_of(a), 128);
  EXPECT_EQ(rows_of(b), 128);
}

TEST_F(SchedulerOrder, DecodingSequencesKeepTheirPaceWhateverTheirCallerOwes) {
  make({.max_sequences = 64, .max_step_tokens = 64, .max_logit_rows = 99, .block_size = 4}, 9999);
  Sequence& a = add(30, {.caller = 1});
  step();
  for (int i = 0; i < 20; ++i) {
    add(100, {.caller = 2});
    add(10, {.priority = 9, .caller = 2});
    step();
    ASSERT_EQ(rows_of(a), 1);
  }
}

// Small requests of others come all the time; blocks for the large one are never free by chance.
TEST_F(SchedulerOrder, ALargeRequestIsNotHeldUpForEverByOthersSmallOnes) {
  make({.max_sequences = 8, .max_step_tokens = 64, .max_logit_rows = 9, .block_size = 4}, 40);
  std::vector<Sequence*> small;
  const auto busy_step = [&] {
    while (small.size() < 12) small.push_back(&add(20, {.caller = 2}));
    step();
    std::erase_if(small, [&](Sequence* s) {
      if (s->length() < 24) return false;
      scheduler_->remove(*s);
      return true;
    });
  };
  for (int i = 0; i < 20; ++i) busy_step();
  Sequence& large = add(140, {.caller = 1});
  int steps = 0;
  for (; large.state == Sequence::State::waiting && steps < 1000; ++steps) busy_step();
  EXPECT_LT(steps, 20) << "what is running, and a round";
}

// Prompts alone, of very different lengths, that never run out.
TEST_F(SchedulerOrder, CallersThatAlwaysAskGetEqualSharesOfTheSteps) {
  make({.max_sequences = 64, .max_step_tokens = 96, .max_logit_rows = 99, .block_size = 4}, 9999);
  std::mt19937 random(3);
  const int longest[] = {3, 50, 700};
  std::vector<std::vector<Sequence*>> live(3);
  int served[3] = {};
  for (int i = 0; i < 1000; ++i) {
    for (std::uint64_t caller = 0; caller < 3; ++caller) {
      while (live[caller].size() < 60) {
        const int length = 1 + static_cast<int>(random() % longest[caller]);
        live[caller].push_back(&add(length, {.caller = caller}));
      }
    }
    step();
    for (const StepPart& part : scheduler_->parts()) served[part.sequence->caller] += part.rows;
    for (auto& sequences : live) {
      std::erase_if(sequences, [&](Sequence* s) {
        if (s->outputs() == 0) return false;
        scheduler_->remove(*s);
        return true;
      });
    }
    ASSERT_LE(std::ranges::max(served) - std::ranges::min(served), 2 * PromptQueue::kQuantum);
  }
}

}  // namespace
}  // namespace mlxd
