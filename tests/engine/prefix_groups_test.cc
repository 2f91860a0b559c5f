#include "engine/prefix_groups.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "prefix_store/numbers.h"

namespace mlxd {
namespace {

using testing::numbers;
using Tokens = std::vector<int>;

constexpr int kBlock = 4;

// A full group, and one with a window of 6 rows: the row after whole blocks reads the last two.
class PrefixGroupsTest : public ::testing::Test {
 protected:
  void make(int full, int windowed) {
    cache_.reset();
    CachePlan plan;
    plan.size.blocks = {windowed, full};
    plan.reserve = {4, 0};
    plan.max_sequences = 1;
    pools_ = std::make_unique<BlockPools>(groups_, kBlock, plan);
    cache_ = std::make_unique<PrefixGroups>(*pools_, kBlock);
  }
  void SetUp() override { make(20, 20); }

  // As a request computes them, `chunk` blocks a step, and ends.
  void compute_and_release(const Tokens& tokens, int chunk = 1, std::uint64_t salt = 0) {
    BlockTables tables = compute(tokens, chunk, salt);
    pools_->release(tables);
    cache_->check_integrity();
  }
  BlockTables compute(const Tokens& tokens, int chunk = 1, std::uint64_t salt = 0) {
    const int blocks = static_cast<int>(tokens.size()) / kBlock;
    BlockTables tables;
    pools_->adopt(tables, cache_->find(salt, tokens));
    int entered = tables.size();
    EXPECT_TRUE(pools_->allocate(tables, blocks - entered));
    while (entered < blocks) {
      const int end = std::min(entered + chunk, blocks);
      pools_->cover(tables, end * kBlock);
      entered = cache_->enter(salt, std::span(tokens).first(end * kBlock), tables, entered);
      EXPECT_EQ(entered, end);
      pools_->let_go(tables, end * kBlock);
    }
    cache_->check_integrity();
    return tables;
  }
  int found(const Tokens& tokens) const { return cache_->find(0, tokens).size(); }

  const std::vector<KvGroup> groups_{{.window = 6}, {.window = 0}};
  std::unique_ptr<BlockPools> pools_;
  std::unique_ptr<PrefixGroups> cache_;
};

TEST_F(PrefixGroupsTest, FindsAllBlocksOfTheFullGroupAndTheLastWindowsOfAWindowedOne) {
  compute_and_release(numbers(0, 20));
  const BlockTables prefix = cache_->find(0, numbers(0, 21));
  EXPECT_EQ(prefix.size(), 5);
  EXPECT_EQ(prefix.of(1).size(), 5u);
  ASSERT_EQ(prefix.of(0).size(), 5u);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(prefix.of(0)[i] >= 0, i >= 3) << i;
  BlockTables tables;
  pools_->adopt(tables, prefix);
  EXPECT_EQ(pools_->pool(0).used(), 2);
  EXPECT_EQ(pools_->pool(1).used(), 5);
  const std::vector<const BlockTables*> owners{&tables};
  pools_->check_integrity(owners);
}

TEST_F(PrefixGroupsTest, WithoutALastWindowAPrefixIsFoundAsFarAsThereIsOne) {
  make(40, 12);
  compute_and_release(numbers(0, 40));  // 10 blocks in each group
  BlockTables tables;
  ASSERT_TRUE(pools_->allocate(tables, 10));
  pools_->cover(tables, 40);  // evicts 8 of them: those that the window passed first
  EXPECT_EQ(found(numbers(0, 40)), 10);
  EXPECT_EQ(found(numbers(0, 20)), 0) << "its window was evicted, what continues it was not";
  EXPECT_EQ(cache_->size(), 10);
  cache_->check_integrity();
}

TEST_F(PrefixGroupsTest, EvictingAFullGroupsBlockTakesWhatHangsOnIt) {
  make(10, 40);
  compute_and_release(numbers(0, 40));
  EXPECT_EQ(pools_->pool(0).idle(), 10);
  BlockTables tables;
  ASSERT_TRUE(pools_->allocate(tables, 3));
  EXPECT_EQ(found(numbers(0, 40)), 7);
  EXPECT_EQ(pools_->pool(0).idle(), 7);
  cache_->check_integrity();
}

TEST_F(PrefixGroupsTest, KeepsOneCopyInEveryGroupOfWhatTwoComputed) {
  BlockTables first = compute(numbers(0, 8));
  BlockTables second;
  ASSERT_TRUE(pools_->allocate(second, 2));
  pools_->cover(second, 8);
  EXPECT_EQ(cache_->enter(0, numbers(0, 8), second, 0), 2);
  EXPECT_EQ(second.of(1), first.of(1));
  EXPECT_EQ(second.of(0)[1], first.of(0)[1]);
  EXPECT_EQ(pools_->pool(0).used(), 2);
  const std::vector<const BlockTables*> owners{&first, &second};
  pools_->check_integrity(owners);
}

TEST_F(PrefixGroupsTest, WhoComputesAWindowAgainPutsItBackWhereItWasEvicted) {
  make(40, 12);
  compute_and_release(numbers(0, 40));
  compute_and_release(numbers(100, 48));  // evicts all that the first had in the windowed group
  EXPECT_EQ(found(numbers(0, 40)), 0);
  EXPECT_EQ(cache_->size(), 22);
  compute_and_release(numbers(0, 40));
  EXPECT_EQ(found(numbers(0, 40)), 10);
  EXPECT_EQ(cache_->size(), 22) << "on the blocks of the full group that were there";
}

TEST_F(PrefixGroupsTest, ForgettingTakesTheBlocksOfAllGroups) {
  compute_and_release(numbers(0, 20));
  cache_->forget(cache_->find(0, numbers(0, 20)));
  EXPECT_EQ(cache_->size(), 0);
  EXPECT_EQ(pools_->idle(), 0);
  cache_->check_integrity();
  pools_->check_integrity({});
}

TEST_F(PrefixGroupsTest, SaltsDoNotShare) {
  compute_and_release(numbers(0, 8), 2, 1);
  EXPECT_EQ(cache_->find(1, numbers(0, 8)).size(), 2);
  EXPECT_EQ(cache_->find(2, numbers(0, 8)).size(), 0);
}

}  // namespace
}  // namespace mlxd
