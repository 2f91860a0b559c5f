#include "serve/reasoning_budget.h"

#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

constexpr int kBegin = 3, kEnd = 40;

std::unique_ptr<TokenConstraint> budget_of(int tokens, bool begun,
                                           std::unique_ptr<TokenConstraint> then = nullptr) {
  return reasoning_budget(std::move(then), {kBegin, kEnd}, tokens, begun);
}

// The tokens below 64 that may come; all where nothing is masked.
std::size_t allowed(TokenConstraint& constraint) {
  std::vector<std::uint32_t> mask(2);
  if (!constraint.fill(mask)) return 64;
  return static_cast<std::size_t>(__builtin_popcount(mask[0]) + __builtin_popcount(mask[1]));
}

bool must_end(TokenConstraint& constraint) {
  std::vector<int> forced;
  constraint.add_forced(8, forced);
  return allowed(constraint) == 1 && forced == std::vector{kEnd} && !constraint.accept(20);
}

TEST(ReasoningBudget, ClosesTheReasoningWithTheModelsOwnMark) {
  for (const bool begun : {false, true}) {
    const auto constraint = budget_of(2, begun);
    ASSERT_TRUE(begun || constraint->accept(kBegin));
    for (const int token : {20, 21}) {
      EXPECT_EQ(allowed(*constraint), 64U);
      EXPECT_TRUE(constraint->accept(token));
    }
    EXPECT_TRUE(must_end(*constraint));
    EXPECT_TRUE(constraint->accept(kEnd));
    EXPECT_EQ(allowed(*constraint), 64U) << "the answer is free";
    EXPECT_FALSE(constraint->terminated());
  }
}

TEST(ReasoningBudget, DoesNotCountTheAnswer) {
  const auto constraint = budget_of(1, false);
  for (const int token : {20, 21, 22, 23}) EXPECT_TRUE(constraint->accept(token));
  EXPECT_EQ(allowed(*constraint), 64U);
}

TEST(ReasoningBudget, IsSpentOnce) {
  const auto constraint = budget_of(1, true);
  for (const int token : {20, kEnd, 30, kBegin}) ASSERT_TRUE(constraint->accept(token));
  EXPECT_TRUE(must_end(*constraint)) << "another block has nothing left";
}

TEST(ReasoningBudget, OfZeroClosesAtOnce) { EXPECT_TRUE(must_end(*budget_of(0, true))); }

TEST(ReasoningBudget, IsTakenBackWithDrafts) {
  const auto constraint = budget_of(2, true);
  for (const int token : {20, 21, kEnd, 30}) ASSERT_TRUE(constraint->accept(token));
  constraint->rollback(2);
  EXPECT_TRUE(must_end(*constraint));
  constraint->rollback(1);
  EXPECT_EQ(allowed(*constraint), 64U);
  EXPECT_TRUE(constraint->accept(kEnd)) << "it may end before";
  EXPECT_EQ(allowed(*constraint), 64U);
}

TEST(ReasoningBudget, EachSampleHasItsOwn) {
  const auto constraint = budget_of(1, true);
  const auto other = constraint->fork();
  ASSERT_TRUE(constraint->accept(20));
  EXPECT_TRUE(must_end(*constraint));
  EXPECT_EQ(allowed(*other), 64U);
  EXPECT_TRUE(must_end(*constraint->fork())) << "as far as the sample that it is forked from";
}

// 10, and no more.
class One final : public TokenConstraint {
 public:
  bool fill(std::span<std::uint32_t> allowed) override {
    allowed[0] |= 1u << 10;
    return true;
  }
  bool accept(int token) override {
    if (taken_ || token != 10) return false;
    return taken_ = true;
  }
  void rollback(int) override { taken_ = false; }
  bool terminated() const override { return taken_; }
  std::unique_ptr<TokenConstraint> fork() const override { return std::make_unique<One>(*this); }

 private:
  bool taken_ = false;
};

TEST(ReasoningBudget, WhatTheAnswerIsHeldToHoldsBesideIt) {
  const auto constraint =
      budget_of(1, false, after_reasoning(std::make_unique<One>(), {kBegin, kEnd}, {5}, false));
  for (const int token : {kBegin, 20, kEnd}) ASSERT_TRUE(constraint->accept(token));
  EXPECT_EQ(allowed(*constraint), 1U);
  EXPECT_TRUE(constraint->accept(10));
  EXPECT_TRUE(constraint->terminated());
  constraint->rollback(3);
  EXPECT_TRUE(constraint->accept(20));
  EXPECT_TRUE(must_end(*constraint));
}

}  // namespace
}  // namespace mlxd
