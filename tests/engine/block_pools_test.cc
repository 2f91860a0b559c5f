#include "engine/block_pools.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

constexpr int kBlock = 4;

// A full group of 20 blocks, and one with a window of 6 rows: 4 blocks in reserve for each of three
// sequences, one for what each may copy, and 5 beyond that.
class BlockPoolsTest : public ::testing::Test {
 protected:
  static CachePlan plan() {
    CachePlan plan;
    plan.size.blocks = {20, 20};
    plan.reserve = {0, 4};
    plan.max_sequences = 3;
    return plan;
  }
  void check_integrity(std::vector<const BlockTables*> tables) {
    pools_.check_integrity(tables, copies_);
  }

  const std::vector<KvGroup> groups_{{.window = 0}, {.window = 6}};
  BlockPools pools_{groups_, kBlock, plan()};
  std::vector<BlockCopy> copies_;
};

TEST_F(BlockPoolsTest, LetsGoOfWhatTheNextRowDoesNotRead) {
  BlockTables tables;
  ASSERT_TRUE(pools_.allocate(tables, 5));
  pools_.cover(tables, 20);
  EXPECT_EQ(pools_.pool(1).used(), 5);
  pools_.let_go(tables, 13);  // reads 8 .. 13
  EXPECT_EQ(pools_.pool(1).used(), 3);
  EXPECT_EQ(pools_.pool(0).used(), 5) << "a full group keeps all";
  EXPECT_EQ(tables.of(1)[1], -1);
  EXPECT_GE(tables.of(1)[2], 0);
  pools_.let_go(tables, 12);  // reads 7: its block is gone already
  EXPECT_EQ(pools_.pool(1).used(), 3);
  check_integrity({&tables});
  pools_.release(tables);
  EXPECT_EQ(pools_.used(), 0);
  EXPECT_TRUE(tables.empty());
  check_integrity({});
}

TEST_F(BlockPoolsTest, AChunkTakesTheSurplusAndLeavesEveryoneTheirReserve) {
  BlockTables first, second, third;
  for (BlockTables* tables : {&first, &second, &third}) ASSERT_TRUE(pools_.allocate(*tables, 6));
  EXPECT_EQ(pools_.rows_with_room(first, 0, 100), (4 + 5) * kBlock);
  pools_.cover(first, 30);
  EXPECT_EQ(pools_.rows_with_room(second, 0, 100), (4 + 1) * kBlock);
  pools_.cover(second, 20);
  EXPECT_EQ(pools_.rows_with_room(third, 0, 100), 4 * kBlock);
  pools_.cover(third, 16);
  EXPECT_EQ(pools_.pool(1).available(), 3) << "for copies";
  EXPECT_EQ(pools_.rows_with_room(third, 16, 100), 0);
  pools_.let_go(third, 16);
  EXPECT_EQ(pools_.rows_with_room(third, 16, 100), 2 * kBlock) << "it goes on in its own reserve";
}

TEST_F(BlockPoolsTest, CopiesOnWriteInAllGroupsOrInNone) {
  BlockTables tables, child;
  ASSERT_TRUE(pools_.allocate(tables, 2));
  pools_.cover(tables, 7);
  pools_.share(tables, child);
  EXPECT_TRUE(pools_.is_shared(child, 1));
  BlockTables rest;
  ASSERT_TRUE(pools_.allocate(rest, 18));
  EXPECT_FALSE(pools_.unshare(child, 1, copies_)) << "the full group has none left";
  EXPECT_TRUE(copies_.empty());
  EXPECT_EQ(child, tables);
  pools_.release(rest);
  ASSERT_TRUE(pools_.unshare(child, 1, copies_));
  ASSERT_EQ(copies_.size(), 2u);
  for (int group = 0; group < 2; ++group) {
    EXPECT_EQ(copies_[group], (BlockCopy{group, tables.of(group)[1], child.of(group)[1]}));
    EXPECT_NE(tables.of(group)[1], child.of(group)[1]);
  }
  check_integrity({&tables, &child});
  pools_.release(tables);
  EXPECT_EQ(pools_.pool(1).used(), 3) << "the source of a copy that is due";
  for (const BlockCopy& copy : copies_) pools_.copied(copy);
  copies_.clear();
  EXPECT_EQ(pools_.pool(1).used(), 2);
  pools_.release(child);
  check_integrity({});
}

TEST_F(BlockPoolsTest, ChangesNothingWhenTheFullGroupHasNotEnough) {
  BlockTables tables;
  EXPECT_FALSE(pools_.allocate(tables, 21));
  EXPECT_TRUE(tables.empty());
  EXPECT_EQ(pools_.used(), 0);
}

TEST_F(BlockPoolsTest, ShorteningGivesUpTheEndsOfAllTables) {
  BlockTables tables;
  ASSERT_TRUE(pools_.allocate(tables, 5));
  pools_.cover(tables, 18);
  pools_.let_go(tables, 12);
  pools_.shorten(tables, 3);
  EXPECT_EQ(tables.size(), 3);
  EXPECT_EQ(pools_.pool(0).used(), 3);
  EXPECT_EQ(pools_.pool(1).used(), 2);
  check_integrity({&tables});
}

// A window of 6 rows alone: blocks of tokens stand in a full group's place.
TEST(BlockPools, WithoutAFullGroupASequenceIsAsLongAsThereAreBlocksOfTokens) {
  CachePlan plan;
  plan.size.blocks = {4};
  plan.token_blocks = 250;
  plan.reserve = {4};
  plan.max_sequences = 1;
  BlockPools pools(std::vector<KvGroup>{{.window = 6}}, kBlock, plan);
  BlockTables tables;
  for (int position = 0; position < 1000; ++position) {
    if (position % kBlock == 0) {
      ASSERT_TRUE(pools.allocate(tables, 1));
    }
    ASSERT_EQ(pools.rows_with_room(tables, position, 1), 1);
    pools.cover(tables, position + 1);
    pools.let_go(tables, position + 1);
    ASSERT_LE(tables.held(0), 3);
  }
  EXPECT_EQ(tables.size(), 250);
  EXPECT_FALSE(pools.allocate(tables, 1));
  EXPECT_EQ(pools.kv_groups(), 1) << "the runner has one group";
  EXPECT_EQ(pools.total(), 4) << "and so many blocks";
  EXPECT_LE(pools.used(), 3);
  pools.check_integrity(std::vector<const BlockTables*>{&tables});
}

TEST(BlockPools, BlocksOfTokensAreSharedAndPartWithoutACopy) {
  CachePlan plan;
  plan.size.blocks = {10};
  plan.reserve = {4};
  plan.max_sequences = 2;
  plan.token_blocks = 10;
  BlockPools pools(std::vector<KvGroup>{{.window = 6}}, kBlock, plan);
  BlockTables tables, fork;
  ASSERT_TRUE(pools.allocate(tables, 2));
  pools.cover(tables, 6);
  pools.share(tables, fork);
  std::vector<BlockCopy> copies;
  ASSERT_TRUE(pools.is_shared(fork, 1));
  ASSERT_TRUE(pools.unshare(fork, 1, copies));
  EXPECT_FALSE(pools.is_shared(fork, 1));
  EXPECT_NE(tables.of(1)[1], fork.of(1)[1]);
  EXPECT_EQ(copies, (std::vector<BlockCopy>{{0, tables.of(0)[1], fork.of(0)[1]}}));
  pools.check_integrity(std::vector<const BlockTables*>{&tables, &fork}, copies);
  pools.copied(copies[0]);
}

TEST(BlockPoolsDeathTest, ALetGoBlockIsNotGivenUpAgain) {
  BlockManager blocks(2);
  BlockTable table;
  ASSERT_TRUE(blocks.allocate(table, 2));
  BlockTable stale = table;
  blocks.give_up(table, 0);
  EXPECT_EQ(table[0], -1);
  EXPECT_DEATH(blocks.give_up(stale, 0), "given up once");
}

}  // namespace
}  // namespace mlxd
