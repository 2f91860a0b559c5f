#include "prefix_store/file_index.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

Digest key_of(int number) {
  Digest key{};
  std::memcpy(key.data(), &number, sizeof number);
  return key;
}
int number_of(const Digest& key) {
  int number = 0;
  std::memcpy(&number, key.data(), sizeof number);
  return number;
}

constexpr int kRoot = 0;

class FileIndexTest : public ::testing::Test {
 protected:
  void insert(int key, int parent) { index_.insert({key_of(key), key_of(parent)}); }

  // Takes out what goes first, until nothing is left.
  std::vector<int> order() {
    std::vector<int> keys;
    while (const auto oldest = index_.oldest_end()) {
      keys.push_back(number_of(oldest->key));
      index_.erase(oldest->key);
    }
    EXPECT_EQ(index_.size(), 0u);
    return keys;
  }

  FileIndex index_;
};

TEST_F(FileIndexTest, APrefixGoesFromItsEnd) {
  insert(1, kRoot);
  insert(2, 1);
  insert(3, 2);
  EXPECT_EQ(order(), (std::vector{3, 2, 1}));
}

TEST_F(FileIndexTest, ThePrefixUsedLongestAgoGoesFirstAndAsAWhole) {
  insert(1, kRoot);
  insert(2, 1);
  insert(11, kRoot);
  insert(12, 11);
  index_.use(key_of(2));
  EXPECT_EQ(order(), (std::vector{12, 11, 2, 1})) << "the use of an end is that of all before it";
}

TEST_F(FileIndexTest, ABeginningThatIsSharedStaysWithTheLastThatSharesIt) {
  insert(1, kRoot);
  insert(2, 1);
  insert(3, 1);
  insert(9, kRoot);
  index_.use(key_of(2));
  EXPECT_EQ(order(), (std::vector{3, 9, 2, 1}));
}

TEST_F(FileIndexTest, TheUseOfABeginningCountsWhenItHasBecomeAnEnd) {
  insert(1, kRoot);
  insert(2, 1);
  insert(9, kRoot);
  index_.use(key_of(1));
  EXPECT_EQ(order(), (std::vector{2, 9, 1}));
}

TEST_F(FileIndexTest, WhatIsSparedIsPassedOver) {
  EXPECT_FALSE(index_.oldest_end(key_of(1)));
  insert(1, kRoot);
  EXPECT_FALSE(index_.oldest_end(key_of(1)));
  insert(2, kRoot);
  EXPECT_EQ(number_of(index_.oldest_end(key_of(1))->key), 2);
  EXPECT_EQ(number_of(index_.oldest_end(key_of(2))->key), 1);
}

TEST_F(FileIndexTest, WhatContinuesAMissingBlockIsAnEndUntilTheBlockIsBack) {
  insert(2, 1);
  insert(3, 2);
  EXPECT_EQ(number_of(index_.oldest_end()->key), 3);
  insert(1, kRoot);
  EXPECT_EQ(order(), (std::vector{3, 2, 1}));
}

TEST_F(FileIndexTest, ASubtreeIsTakenWithAllBranches) {
  insert(1, kRoot);
  insert(2, 1);
  insert(3, 2);
  insert(4, 1);
  insert(9, kRoot);
  std::set<int> taken;
  for (const BlockName& name : index_.take_subtree(key_of(1))) taken.insert(number_of(name.key));
  EXPECT_EQ(taken, (std::set{1, 2, 3, 4}));
  EXPECT_EQ(order(), std::vector{9});
}

TEST_F(FileIndexTest, ASubtreeIsTakenThoughItsRootIsMissing) {
  insert(2, 1);
  EXPECT_EQ(index_.take_subtree(key_of(1)).size(), 1u);
  EXPECT_EQ(index_.size(), 0u);
}

// In no time: a salt's root has a child for each way in which its prompts begin.
TEST_F(FileIndexTest, ABlockMayHaveAHundredThousandChildren) {
  constexpr int kChildren = 100000;
  for (const bool together : {true, false}) {
    insert(1, kRoot);
    for (int child = 2; child < 2 + kChildren; ++child) insert(child, 1);
    if (together) {
      EXPECT_EQ(index_.take_subtree(key_of(1)).size(), 1u + kChildren);
    } else {
      for (int child = 1 + kChildren; child > 1; --child) index_.erase(key_of(child));
      EXPECT_EQ(order(), std::vector{1});
    }
    EXPECT_EQ(index_.size(), 0u);
  }
}

TEST_F(FileIndexTest, NamesThatGoInACircleEndNothing) {
  insert(1, 2);
  insert(2, 1);
  insert(3, 3);
  EXPECT_FALSE(index_.oldest_end());
  EXPECT_EQ(index_.take_subtree(key_of(1)).size(), 2u);
  EXPECT_EQ(index_.take_subtree(key_of(3)).size(), 1u);
  EXPECT_EQ(index_.size(), 0u);
}

// Against the rule itself: of the blocks that nothing continues, the one whose last use, its own or
// that of what once continued it, is longest ago.
TEST_F(FileIndexTest, AgreesWithTheRuleOverRandomOperations) {
  std::mt19937 random(1);
  struct Known {
    int parent = 0;
    int used = 0;
  };
  std::map<int, Known> known;
  int clock = 0;
  for (int i = 0; i < 20000; ++i) {
    const int key = 1 + static_cast<int>(random() % 60);
    const auto found = known.find(key);
    if (random() % 3 == 0 && found != known.end()) {
      index_.use(key_of(key));
      found->second.used = ++clock;
    } else if (found == known.end()) {
      const int parent = key == 1 ? kRoot : static_cast<int>(random() % key);
      insert(key, parent);
      known[key] = {parent, ++clock};
    } else {
      const auto oldest = index_.oldest_end();
      int expected = -1;
      for (const auto& [candidate, entry] : known) {
        const bool end = std::ranges::none_of(
            known, [&](const auto& other) { return other.second.parent == candidate; });
        if (end && (expected < 0 || entry.used < known[expected].used)) expected = candidate;
      }
      ASSERT_TRUE(oldest);
      ASSERT_EQ(number_of(oldest->key), expected);
      const Known gone = known[expected];
      index_.erase(oldest->key);
      known.erase(expected);
      const bool last = std::ranges::none_of(
          known, [&](const auto& other) { return other.second.parent == gone.parent; });
      if (const auto parent = known.find(gone.parent); last && parent != known.end()) {
        parent->second.used = std::max(parent->second.used, gone.used);
      }
    }
    ASSERT_EQ(index_.size(), known.size());
  }
}

}  // namespace
}  // namespace mlxd
