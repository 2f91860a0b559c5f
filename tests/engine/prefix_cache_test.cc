#include "engine/prefix_cache.h"

#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "prefix_store/numbers.h"

namespace mlxd {
namespace {

using testing::numbers;
using Tokens = std::vector<int>;

class PrefixCacheTest : public ::testing::Test {
 protected:
  static constexpr int kBlock = 4;

  void make(int blocks, PrefixCache::Mix mix = PrefixCache::mix_well) {
    cache_.reset();
    blocks_ = std::make_unique<BlockManager>(blocks);
    cache_ = std::make_unique<PrefixCache>(*blocks_, kBlock, mix);
  }
  void SetUp() override { make(20); }

  // A table of fresh blocks that holds the tokens, its full ones entered.
  BlockTable compute(const Tokens& tokens, std::uint64_t salt = 0) {
    BlockTable table;
    EXPECT_TRUE(blocks_->allocate(table, static_cast<int>(tokens.size() + kBlock - 1) / kBlock));
    cache_->enter(salt, tokens, table, 0);
    cache_->check_integrity();
    return table;
  }
  void compute_and_release(const Tokens& tokens, std::uint64_t salt = 0) {
    BlockTable table = compute(tokens, salt);
    blocks_->release(table);
  }
  int found(const Tokens& tokens, std::uint64_t salt = 0) const {
    return static_cast<int>(cache_->find(salt, tokens).size());
  }

  std::unique_ptr<BlockManager> blocks_;
  std::unique_ptr<PrefixCache> cache_;
};

TEST_F(PrefixCacheTest, FindsTheLongestPrefixInWholeBlocks) {
  const BlockTable table = compute(numbers(0, 11));
  EXPECT_EQ(cache_->size(), 2) << "the third block is not full";
  EXPECT_EQ(cache_->find(0, numbers(0, 11)), BlockTable(table.begin(), table.begin() + 2));
  EXPECT_EQ(found(numbers(0, 7)), 1);
  EXPECT_EQ(found(numbers(0, 3)), 0);
  Tokens other = numbers(0, 12);
  other[5] = 99;
  EXPECT_EQ(found(other), 1);
  EXPECT_EQ(found(numbers(4, 4)), 0) << "the same tokens after others";
}

TEST_F(PrefixCacheTest, SaltsDoNotShare) {
  compute_and_release(numbers(0, 8), 1);
  EXPECT_EQ(found(numbers(0, 8), 1), 2);
  EXPECT_EQ(found(numbers(0, 8), 2), 0);
  compute_and_release(numbers(0, 8), 2);
  EXPECT_EQ(blocks_->idle(), 4);
}

TEST_F(PrefixCacheTest, GeneratedTokensAreOthersThanAPromptsSame) {
  const Tokens tokens = numbers(0, 12);
  const auto found_with = [&](int prompt_length) {
    return static_cast<int>(cache_->find(0, PrefixTokens(tokens, prompt_length)).size());
  };
  BlockTable answered;
  ASSERT_TRUE(blocks_->allocate(answered, 3));
  EXPECT_EQ(cache_->enter(0, PrefixTokens(tokens, 6), answered, 0), 3);
  EXPECT_EQ(found_with(6), 3) << "its own blocks";
  EXPECT_EQ(found_with(5), 1) << "another answer, of which one token more was generated";
  EXPECT_EQ(found_with(PrefixTokens::kAll), 1) << "a prompt that contains the answer";
  compute_and_release(tokens);
  EXPECT_EQ(found_with(PrefixTokens::kAll), 3);
  EXPECT_EQ(found_with(6), 3) << "neither takes the other's place";
  cache_->check_integrity();
}

TEST_F(PrefixCacheTest, ABlockOutlivesItsOwnersAndCountsAsAvailable) {
  compute_and_release(numbers(0, 8));
  EXPECT_EQ(blocks_->used(), 0);
  EXPECT_EQ(blocks_->available(), 20);
  EXPECT_EQ(blocks_->idle(), 2);
  BlockTable again;
  blocks_->adopt(again, cache_->find(0, numbers(0, 8)));
  EXPECT_EQ(blocks_->used(), 2);
  EXPECT_EQ(blocks_->idle(), 0);
}

TEST_F(PrefixCacheTest, AnAllocationTakesIdleBlocksLeastRecentlyUsedFirst) {
  compute_and_release(numbers(0, 20));    // 5 blocks
  compute_and_release(numbers(100, 20));  // 5
  compute_and_release(numbers(200, 20));  // 5
  BlockTable used;
  blocks_->adopt(used, cache_->find(0, numbers(0, 20)));
  blocks_->release(used);  // the first is now the last used
  BlockTable fresh;
  ASSERT_TRUE(blocks_->allocate(fresh, 5));
  EXPECT_EQ(blocks_->idle(), 15) << "free blocks go first";
  ASSERT_TRUE(blocks_->allocate(fresh, 3));
  EXPECT_EQ(found(numbers(100, 20)), 2) << "a prefix loses its end before its beginning";
  EXPECT_EQ(found(numbers(200, 20)), 5);
  ASSERT_TRUE(blocks_->allocate(fresh, 7));
  EXPECT_EQ(found(numbers(100, 20)), 0);
  EXPECT_EQ(found(numbers(200, 20)), 0);
  EXPECT_EQ(found(numbers(0, 20)), 5);
  ASSERT_TRUE(blocks_->allocate(fresh, 5)) << "the cache holds up no allocation";
  EXPECT_FALSE(blocks_->allocate(fresh, 1));
  EXPECT_EQ(cache_->size(), 0);
  cache_->check_integrity();
}

TEST_F(PrefixCacheTest, KeepsOneCopyOfWhatTwoComputed) {
  BlockTable first = compute(numbers(0, 8));
  Tokens longer = numbers(0, 12);
  BlockTable second = compute(longer);
  EXPECT_EQ(cache_->size(), 3);
  EXPECT_EQ(blocks_->used(), 3) << "the second took over the first's blocks";
  EXPECT_EQ(second[0], first[0]);
  EXPECT_EQ(second[1], first[1]);
  blocks_->release(first);
  blocks_->release(second);
  EXPECT_EQ(found(longer), 3);
}

TEST_F(PrefixCacheTest, ForgettingTakesOutABlockAndWhatContinuesIt) {
  Tokens branch = numbers(0, 8);
  branch.insert(branch.end(), {9, 9, 9, 9});
  compute_and_release(branch);
  BlockTable table = compute(numbers(0, 12));
  compute_and_release(numbers(50, 8));
  cache_->forget(BlockTable{table[1]});
  EXPECT_EQ(found(numbers(0, 12)), 1);
  EXPECT_EQ(found(branch), 1);
  EXPECT_EQ(found(numbers(50, 8)), 2);
  EXPECT_EQ(blocks_->used(), 3) << "its owner keeps it";
  EXPECT_EQ(cache_->enter(0, numbers(0, 16), table, 3), 3)
      << "nothing continues what is not there any more";
  cache_->check_integrity();
  blocks_->release(table);
  EXPECT_EQ(blocks_->idle(), 3);
}

TEST_F(PrefixCacheTest, APinnedBlockIsEnteredWhenItsPinIsGone) {
  BlockTable table;
  ASSERT_TRUE(blocks_->allocate(table, 2));
  blocks_->pin(table[1]);
  EXPECT_EQ(cache_->enter(0, numbers(0, 8), table, 0), 1);
  blocks_->unpin(table[1]);
  EXPECT_EQ(cache_->enter(0, numbers(0, 8), table, 1), 2);
}

TEST_F(PrefixCacheTest, CollidingHashesNeverGiveAnotherPrefixesBlocks) {
  make(20, [](std::uint64_t, std::uint64_t) { return std::uint64_t{7}; });
  compute_and_release(numbers(0, 4));
  compute_and_release(numbers(50, 8));
  EXPECT_EQ(found(numbers(0, 4)), 1);
  EXPECT_EQ(found(numbers(50, 8)), 0);
  EXPECT_EQ(found(numbers(0, 4), 1), 0);
}

TEST_F(PrefixCacheTest, TellsPrefixesApartThatDifferInOneToken) {
  make(2000);
  for (int i = 0; i < 1000; ++i) compute_and_release({i, 0, i % 3, 5});
  EXPECT_EQ(cache_->size(), 1000);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(found({i, 0, (i + 1) % 3, 5}), 0);
}

// Random sequences that begin, grow, fork, end, fail and take over prefixes, against a reference
// that knows prefixes by their very tokens. `memory_` holds what was written to each block, so a
// block that is found for another prefix shows.
class PrefixCacheModel {
 public:
  PrefixCacheModel(unsigned seed, PrefixCache::Mix mix)
      : random_(seed),
        total_(4 + static_cast<int>(random_() % 30)),
        exact_(mix == PrefixCache::mix_well),
        blocks_(total_),
        cache_(blocks_, kBlock, mix),
        memory_(total_) {}

  void step() {
    const auto action = random_() % 8;
    if (live_.empty() || action == 0) {
      begin();
    } else if (auto one = std::next(live_.begin(), random_() % live_.size()); action < 5) {
      grow(*one);
    } else if (action == 5) {
      fork(*one);
    } else {
      if (action == 7 && random_() % 4 == 0) fail(*one);
      release(*one);
      live_.erase(one);
    }
    check();
  }

 private:
  static constexpr int kBlock = 2;
  using Prefix = std::pair<std::uint64_t, Tokens>;  // salt, tokens of whole blocks

  struct Live {
    std::uint64_t salt = 0;
    Tokens tokens;  // all computed
    BlockTable table;
    int entered = 0;
  };

  int chance(int n) { return static_cast<int>(random_() % n); }

  static Prefix prefix_of(const Live& live, int blocks) {
    return {live.salt, Tokens(live.tokens.begin(), live.tokens.begin() + blocks * kBlock)};
  }

  int distinct_used() const {
    std::set<int> used;
    for (const Live& live : live_) used.insert(live.table.begin(), live.table.end());
    return static_cast<int>(used.size());
  }
  bool owned(int block) const {
    return std::ranges::any_of(
        live_, [&](const Live& live) { return std::ranges::count(live.table, block) > 0; });
  }

  // Allocates as the reference says: free blocks first, then the idle ones from the front.
  bool allocate(BlockTable& table, int count) {
    const int available = total_ - distinct_used();
    const bool possible = count <= available;
    for (int free = available - static_cast<int>(idle_.size()); possible && free < count; ++free) {
      cached_.erase(idle_.front());
      idle_.pop_front();
    }
    EXPECT_EQ(blocks_.allocate(table, count), possible);
    return possible;
  }

  void begin() {
    Live& live = live_.emplace_back();
    live.salt = random_() % 2;
    Tokens wanted(1 + chance(12));
    for (int& token : wanted) token = chance(2);
    const BlockTable found = cache_.find(live.salt, wanted);
    int expected = 0;
    for (; (expected + 1) * kBlock <= static_cast<int>(wanted.size()); ++expected) {
      live.tokens = wanted;
      const auto known = cached_.find(prefix_of(live, expected + 1));
      if (known == cached_.end()) break;
      ASSERT_LT(expected, static_cast<int>(found.size()));
      ASSERT_EQ(found[expected], known->second);
    }
    ASSERT_EQ(static_cast<int>(found.size()), expected);
    for (int i = 0; i < static_cast<int>(found.size()); ++i) {
      ASSERT_EQ(memory_[found[i]], prefix_of(live, i + 1)) << "a block of another prefix";
      std::erase(idle_, prefix_of(live, i + 1));
    }
    blocks_.adopt(live.table, found);
    live.entered = static_cast<int>(found.size());
    live.tokens.resize(live.entered * kBlock);
    append(live, Tokens(wanted.begin() + live.entered * kBlock, wanted.end()));
  }

  void grow(Live& live) {
    Tokens more(1 + chance(3));
    for (int& token : more) token = chance(2);
    append(live, more);
  }

  void append(Live& live, const Tokens& more) {
    for (const int token : more) {
      const int index = static_cast<int>(live.tokens.size()) / kBlock;
      if (index == static_cast<int>(live.table.size())) {
        if (!allocate(live.table, 1)) break;
      } else if (blocks_.is_shared(live.table[index])) {
        BlockTable fresh;
        if (!allocate(fresh, 1)) break;
        blocks_.release(fresh);
        ASSERT_TRUE(blocks_.unshare(live.table, index));
      }
      ASSERT_FALSE(blocks_.is_kept(live.table[index])) << "a cached block is never written";
      live.tokens.push_back(token);
      memory_[live.table[index]] = {live.salt, live.tokens};
    }
    enter(live);
  }

  void enter(Live& live) {
    const BlockTable before = live.table;
    const int entered = cache_.enter(live.salt, live.tokens, live.table, live.entered);
    for (int i = live.entered; i < entered; ++i) {
      const Prefix prefix = prefix_of(live, i + 1);
      const auto [known, added] = cached_.emplace(prefix, before[i]);
      ASSERT_EQ(live.table[i], known->second) << "one copy of each prefix";
      if (!added) std::erase(idle_, prefix);
      ASSERT_EQ(memory_[live.table[i]], prefix);
    }
    const int full = static_cast<int>(live.tokens.size()) / kBlock;
    if (exact_ && entered < full) {
      ASSERT_GT(entered, 0);
      const auto known = cached_.find(prefix_of(live, entered));
      ASSERT_TRUE(known == cached_.end() || known->second != live.table[entered - 1])
          << "only a lost predecessor keeps a block out";
    }
    live.entered = entered;
  }

  void fork(const Live& parent) {
    Live child = parent;
    child.table.clear();
    blocks_.share(parent.table, child.table);
    live_.push_back(std::move(child));
  }

  void fail(const Live& live) {
    cache_.forget(live.table);
    std::vector<Prefix> roots;
    for (const auto& [prefix, block] : cached_) {
      if (std::ranges::count(live.table, block) > 0) roots.push_back(prefix);
    }
    const auto gone = [&](const Prefix& prefix) {
      return std::ranges::any_of(roots, [&](const Prefix& root) {
        return root.first == prefix.first && root.second.size() <= prefix.second.size() &&
               std::equal(root.second.begin(), root.second.end(), prefix.second.begin());
      });
    };
    std::erase_if(cached_, [&](const auto& entry) { return gone(entry.first); });
    std::erase_if(idle_, gone);
  }

  void release(Live& live) {
    BlockTable table = live.table;
    blocks_.release(live.table);
    for (auto block = table.rbegin(); block != table.rend(); ++block) {
      if (owned(*block)) continue;
      for (const auto& [prefix, at] : cached_) {
        if (at == *block) idle_.push_back(prefix);
      }
    }
  }

  void check() {
    std::vector<const BlockTable*> tables;
    for (const Live& live : live_) tables.push_back(&live.table);
    blocks_.check_integrity(tables);
    cache_.check_integrity();
    ASSERT_EQ(blocks_.used(), distinct_used());
    ASSERT_EQ(cache_.size(), static_cast<int>(cached_.size()));
    std::vector<int> idle;
    for (const Prefix& prefix : idle_) idle.push_back(cached_.at(prefix));
    ASSERT_TRUE(std::ranges::equal(idle, blocks_.idle_blocks())) << "least recently used first";
  }

  std::mt19937 random_;
  const int total_;
  const bool exact_;  // without collisions everything full is entered
  BlockManager blocks_;
  PrefixCache cache_;
  std::vector<Prefix> memory_;    // [blocks]: the last block of this prefix was written there
  std::map<Prefix, int> cached_;  // -> block
  std::list<Prefix> idle_;
  std::list<Live> live_;
};

TEST(PrefixCacheModelTest, AgreesWithASimpleReferenceOverRandomOperations) {
  for (unsigned seed = 0; seed < 100 && !::testing::Test::HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    PrefixCacheModel model(seed, PrefixCache::mix_well);
    for (int i = 0; i < 1000 && !::testing::Test::HasFatalFailure(); ++i) model.step();
  }
}

TEST(PrefixCacheModelTest, ServesNoWrongBlockWhenHashesCollideAllTheTime) {
  for (unsigned seed = 0; seed < 50 && !::testing::Test::HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    PrefixCacheModel model(seed, [](std::uint64_t hash, std::uint64_t word) {
      return (PrefixCache::mix_well(hash, word)) % 5;
    });
    for (int i = 0; i < 1000 && !::testing::Test::HasFatalFailure(); ++i) model.step();
  }
}

}  // namespace
}  // namespace mlxd
