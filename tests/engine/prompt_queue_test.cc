#include "engine/prompt_queue.h"

#include <map>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

class PromptQueueTest : public ::testing::Test {
 protected:
  Sequence& add(std::uint64_t caller, int length, int priority = 0) {
    Sequence& sequence = *sequences_.emplace_back(std::make_unique<Sequence>());
    sequence.age = sequences_.size();
    sequence.caller = caller;
    sequence.priority = priority;
    sequence.tokens.assign(length, 0);
    queue_.join(sequence);
    queue_.push(sequence);
    return sequence;
  }

  // Admits one that waits.
  void begin(Sequence& sequence) {
    queue_.erase(sequence);
    sequence.state = Sequence::State::running;
    queue_.push(sequence);
  }

  // Computes a piece of whoever's turn it is and returns whose it was; the queue is told of its
  // end.
  Sequence* serve() {
    const auto [sequence, most] = queue_.next(/*admitting=*/true);
    if (sequence == nullptr) return nullptr;
    if (sequence->state == Sequence::State::waiting) begin(*sequence);
    const int tokens = std::min(most, sequence->length() - sequence->computed);
    sequence->computed += tokens;
    served_[sequence->caller] += tokens;
    queue_.charge(*sequence, tokens);
    if (sequence->computed == sequence->length()) queue_.leave(*sequence);
    queue_.check_integrity();
    return sequence;
  }

  PromptQueue queue_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::map<std::uint64_t, int> served_;  // tokens
};

TEST_F(PromptQueueTest, ServesACallersOwnSequencesInTheOrderOfTheirArrival) {
  Sequence& a = add(1, 1000);
  Sequence& b = add(1, 10);
  Sequence& c = add(1, 10);
  EXPECT_EQ(serve(), &a) << "who is alone is served to the end";
  EXPECT_EQ(serve(), &b);
  EXPECT_EQ(serve(), &c);
  EXPECT_EQ(serve(), nullptr);
}

TEST_F(PromptQueueTest, ServesAHigherPriorityFirstWhoeverAsks) {
  Sequence& low = add(1, 10, 0);
  Sequence& high = add(2, 10, 9);
  Sequence& middle = add(1, 10, 5);
  EXPECT_EQ(serve(), &high);
  EXPECT_EQ(serve(), &middle);
  EXPECT_EQ(serve(), &low);
}

TEST_F(PromptQueueTest, OneRequestWaitsForNoMoreThanARoundOfAnothersHundreds) {
  for (int i = 0; i < 200; ++i) add(1, 50);
  for (int i = 0; i < 20; ++i) serve();
  Sequence& single = add(2, 50);
  const int before = served_[1];
  while (serve() != &single) {
  }
  EXPECT_LE(served_[1] - before, PromptQueue::kQuantum + 50);
}

TEST_F(PromptQueueTest, PiecesOfLongPromptsTakeTurns) {
  add(1, 5000);
  add(2, 5000);
  for (int i = 0; i < 20; ++i) serve();
  EXPECT_EQ(served_[1], served_[2]);
  EXPECT_EQ(served_[1], 10 * PromptQueue::kQuantum);
}

// Callers of very different prompts that always have something to start: in any stretch of time no
// one gets more than another by more than a quantum and what one piece costs.
TEST_F(PromptQueueTest, WhoAlwaysAsksGetsAsManyTokensAsAnybodyElse) {
  std::mt19937 random(1);
  const int lengths[] = {1, 40, 64, 900};
  const auto refill = [&] {
    for (std::uint64_t caller = 0; caller < 4; ++caller)
      add(caller, 1 + random() % lengths[caller]);
  };
  for (int i = 0; i < 500; ++i) refill();
  int least = 0;  // of the difference between two callers so far, and the most
  int most = 0;
  for (int i = 0; i < 500; ++i) {
    serve();
    for (const auto caller : {1, 2}) {
      const int difference = served_[3] - served_[caller];
      least = std::min(least, difference);
      most = std::max(most, difference);
    }
  }
  EXPECT_LE(most - least, 2 * (PromptQueue::kQuantum + 64));
}

TEST_F(PromptQueueTest, TokensThatACallerGeneratesCountAgainstItsPrompts) {
  for (int i = 0; i < 500; ++i) add(1, 10);
  for (int i = 0; i < 500; ++i) add(2, 10);
  Sequence& decoding = add(1, 10);
  queue_.erase(decoding);
  for (int step = 0; step < 100; ++step) {
    queue_.charge(decoding, 10);
    serve();
    serve();
  }
  EXPECT_NEAR(served_[2], served_[1] + 1000, PromptQueue::kQuantum + 20);
}

TEST_F(PromptQueueTest, WhatNobodyElseWantedIsNotOwed) {
  Sequence& decoding = add(1, 10);
  queue_.erase(decoding);
  queue_.charge(decoding, 1'000'000);
  add(1, 10);
  for (int i = 0; i < 50; ++i) add(2, 10);
  while (served_[1] == 0) ASSERT_NE(serve(), nullptr);
  EXPECT_LE(served_[2], PromptQueue::kQuantum + 10);
}

TEST_F(PromptQueueTest, ADebtIsBounded) {
  Sequence& decoding = add(1, 10);
  for (int i = 0; i < 2000; ++i) add(2, 10);
  queue_.erase(decoding);
  queue_.charge(decoding, 1'000'000);
  Sequence& next = add(1, 10);
  while (serve() != &next) {
  }
  EXPECT_NEAR(served_[2], PromptQueue::kMostDebt, PromptQueue::kQuantum + 10);
}

TEST_F(PromptQueueTest, WhoCannotBeAdmittedKeepsItsTurnWhileOthersThatHaveBegunGoOn) {
  Sequence& started = add(2, 1000);
  ASSERT_EQ(serve(), &started);  // alone, so all of it
  Sequence& first = add(1, 100);
  Sequence& other = add(2, 1000);
  begin(other);
  ASSERT_EQ(queue_.next(true).sequence, &first);
  for (int i = 0; i < 5; ++i) {
    const auto turn = queue_.next(false);
    EXPECT_EQ(turn.sequence, &other);
    EXPECT_GT(turn.tokens, 1000) << "nobody else can use the step";
    queue_.charge(other, 100);
    EXPECT_EQ(queue_.next(true).sequence, &first);
  }
}

TEST_F(PromptQueueTest, WhoWasPreemptedGoesBeforeYoungerOnesThatHaveBegun) {
  Sequence& old = add(1, 10);
  Sequence& young = add(1, 10);
  begin(young);
  EXPECT_EQ(queue_.next(true).sequence, &old);
  EXPECT_EQ(queue_.next(false).sequence, &young) << "while there is no room for the other";
}

TEST_F(PromptQueueTest, PassesOverThePausedOnes) {
  Sequence& a = add(1, 10);
  Sequence& b = add(1, 10);
  a.paused = true;
  EXPECT_EQ(serve(), &b);
  EXPECT_EQ(serve(), nullptr);
  a.paused = false;
  EXPECT_EQ(serve(), &a);
}

}  // namespace
}  // namespace mlxd
