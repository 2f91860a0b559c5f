#include "engine/block_manager.h"

#include <list>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

TEST(BlockManager, GivesConsecutiveBlocksWhileThereAreSome) {
  BlockManager blocks(100);
  BlockTable table;
  ASSERT_TRUE(blocks.allocate(table, 10));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(blocks.allocate(table, 2));
  for (int i = 1; i < 20; ++i) EXPECT_EQ(table[i], table[i - 1] + 1);
}

TEST(BlockManager, LeavesAGrowingNeighbourRoom) {
  BlockManager blocks(100);
  BlockTable first, second;
  ASSERT_TRUE(blocks.allocate(first, 10));
  ASSERT_TRUE(blocks.allocate(second, 10));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(blocks.allocate(first, 1));
  for (int i = 1; i < 30; ++i) EXPECT_EQ(first[i], first[i - 1] + 1);
}

TEST(BlockManager, ChangesNothingWhenThereAreNotEnough) {
  BlockManager blocks(4);
  BlockTable table, other;
  ASSERT_TRUE(blocks.allocate(table, 3));
  EXPECT_FALSE(blocks.allocate(other, 2));
  EXPECT_TRUE(other.empty());
  EXPECT_EQ(blocks.available(), 1);
}

TEST(BlockManager, ASharedBlockIsFreeOnlyWhenItsLastOwnerLetsGo) {
  BlockManager blocks(4);
  BlockTable table, copy;
  ASSERT_TRUE(blocks.allocate(table, 3));
  blocks.share(table, copy);
  EXPECT_EQ(copy, table);
  EXPECT_EQ(blocks.used(), 3);
  blocks.release(table);
  EXPECT_EQ(blocks.used(), 3);
  blocks.release(copy);
  EXPECT_EQ(blocks.used(), 0);
}

TEST(BlockManager, UnsharingPutsAFreshBlockInItsPlace) {
  BlockManager blocks(3);
  BlockTable table, copy;
  ASSERT_TRUE(blocks.allocate(table, 2));
  blocks.share(table, copy);
  const auto moved = blocks.unshare(copy, 1);
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->first, table[1]);
  EXPECT_EQ(moved->second, copy[1]);
  EXPECT_NE(copy[1], table[1]);
  EXPECT_FALSE(blocks.is_shared(table[1]));
  EXPECT_TRUE(blocks.is_shared(table[0]));
  EXPECT_FALSE(blocks.unshare(copy, 0)) << "no block is left";
}

TEST(BlockManagerDeathTest, GivingABlockUpTwiceIsABug) {
  BlockManager blocks(3);
  BlockTable table;
  ASSERT_TRUE(blocks.allocate(table, 1));
  BlockTable stale = table;
  blocks.release(table);
  EXPECT_DEATH(blocks.release(stale), "given up once");
}

// Thousands of random operations against a reference that is nothing but a multiset of owners.
TEST(BlockManager, AgreesWithASimpleReferenceOverRandomOperations) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    const int total = 1 + static_cast<int>(random() % 60);
    BlockManager blocks(total);
    std::list<BlockTable> tables;
    const auto reference_used = [&] {
      std::set<int> used;
      for (const BlockTable& table : tables) used.insert(table.begin(), table.end());
      return static_cast<int>(used.size());
    };
    const auto any = [&] { return std::next(tables.begin(), random() % tables.size()); };
    for (int step = 0; step < 1000; ++step) {
      const int action = static_cast<int>(random() % 5);
      if (action == 0 || tables.empty()) {
        const int count = static_cast<int>(random() % 8);
        const bool possible = count <= total - reference_used();
        EXPECT_EQ(blocks.allocate(tables.emplace_back(), count), possible);
      } else if (action == 1) {
        BlockTable& table = *any();
        const auto before = table;
        const bool possible = reference_used() < total;
        EXPECT_EQ(blocks.allocate(table, 1), possible);
        EXPECT_EQ(table.size(), before.size() + (possible ? 1 : 0));
      } else if (action == 2) {
        const BlockTable& parent = *any();
        blocks.share(parent, tables.emplace_back());
      } else if (action == 3) {
        const auto gone = any();
        blocks.release(*gone);
        tables.erase(gone);
      } else if (BlockTable& table = *any(); !table.empty()) {
        const int index = static_cast<int>(random() % table.size());
        if (blocks.is_shared(table[index])) {
          EXPECT_EQ(blocks.unshare(table, index).has_value(), reference_used() < total);
        }
      }
      std::vector<const BlockTable*> pointers;
      for (const BlockTable& table : tables) pointers.push_back(&table);
      blocks.check_integrity(pointers);
      ASSERT_EQ(blocks.used(), reference_used());
    }
  }
}

}  // namespace
}  // namespace mlxd
