#include "serve/after_reasoning.h"

#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

constexpr int kBegin = 3, kEnd = 40, kStop = 5;

// 10, 11, 12, and no more.
class Count final : public TokenConstraint {
 public:
  bool fill(std::span<std::uint32_t> allowed) override {
    allowed[0] |= 1u << (10 + next_);
    return true;
  }
  bool accept(int token) override {
    if (terminated() || token != 10 + next_) return false;
    ++next_;
    return true;
  }
  void rollback(int tokens) override { next_ -= tokens; }
  bool terminated() const override { return next_ == 3; }
  std::unique_ptr<TokenConstraint> fork() const override { return std::make_unique<Count>(*this); }

 private:
  int next_ = 0;
};

std::unique_ptr<TokenConstraint> make(bool begun) {
  return after_reasoning(std::make_unique<Count>(), {kBegin, kEnd}, {kStop}, begun);
}

bool allows(TokenConstraint& constraint, int token) {
  std::vector<std::uint32_t> mask(2);
  return !constraint.fill(mask) || (mask[token / 32] >> token % 32 & 1) != 0;
}

TEST(AfterReasoning, AnAnswerWithoutReasoningIsHeldFromItsFirstToken) {
  const auto constraint = make(false);
  EXPECT_TRUE(allows(*constraint, kBegin));
  EXPECT_TRUE(allows(*constraint, 10));
  EXPECT_FALSE(allows(*constraint, 20));
  EXPECT_FALSE(constraint->accept(20));
  for (const int token : {10, 11, 12}) EXPECT_TRUE(constraint->accept(token));
  EXPECT_TRUE(constraint->terminated());
  EXPECT_FALSE(constraint->accept(kBegin)) << "only in front";
}

TEST(AfterReasoning, AllButAnEndMayComeInTheReasoning) {
  for (const bool begun : {false, true}) {
    const auto constraint = make(begun);
    ASSERT_TRUE(begun || constraint->accept(kBegin));
    EXPECT_TRUE(allows(*constraint, 20));
    EXPECT_TRUE(allows(*constraint, kEnd));
    EXPECT_FALSE(allows(*constraint, kStop));
    EXPECT_FALSE(constraint->accept(kStop));
    EXPECT_TRUE(constraint->accept(20));
    EXPECT_TRUE(constraint->accept(kEnd));
    EXPECT_FALSE(allows(*constraint, 20));
    EXPECT_TRUE(constraint->accept(10));
    EXPECT_FALSE(constraint->terminated());
  }
}

TEST(AfterReasoning, IsTakenBackOverTheEndOfTheReasoning) {
  const auto constraint = make(false);
  for (const int token : {kBegin, 20, kEnd, 10, 11}) ASSERT_TRUE(constraint->accept(token));
  const auto fork = constraint->fork();
  constraint->rollback(3);
  EXPECT_TRUE(allows(*constraint, 20)) << "it reasons again";
  EXPECT_TRUE(constraint->accept(kEnd));
  EXPECT_TRUE(constraint->accept(10));
  constraint->rollback(4);
  EXPECT_TRUE(allows(*constraint, 10)) << "nothing has come";
  EXPECT_TRUE(fork->accept(12));
  EXPECT_TRUE(fork->terminated());
}

}  // namespace
}  // namespace mlxd
