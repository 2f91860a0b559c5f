#include "engine/block_mover.h"

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "base/scarce_memory.h"
#include "engine/fake/fake_runner.h"
#include "prefix_store/numbers.h"
#include "prefix_store/temporary_folder.h"

namespace mlxd::testing {
namespace {

using Tokens = std::vector<int>;

// The prefix cache with its tier on disk, and no engine around it.
class BlockMoverTest : public ::testing::Test {
 protected:
  static constexpr int kBlock = 4;

  void start(int blocks = 20, std::size_t buffer_bytes = 1 << 20) {
    stop();
    PrefixStoreOptions options;
    options.directory = folder_.path();
    options.identity = "a model";
    options.block_size = kBlock;
    options.block_bytes = 1024;
    options.write_buffer_bytes = buffer_bytes;
    prefixes_ = std::make_unique<StoredPrefixes>(options, [this] { ++wakes_; });
    runner_ = std::make_unique<FakeRunner>(FakeOptions{});
    runner_->resize_cache(CacheSize::of(runner_->info(), blocks));
    blocks_ = std::make_unique<BlockPools>(blocks);
    cache_ = std::make_unique<PrefixGroups>(*blocks_, kBlock);
    mover_ = std::make_unique<BlockMover>(*prefixes_, *runner_, *blocks_, *cache_);
  }
  void stop() {
    mover_.reset();
    cache_.reset();
    blocks_.reset();
    runner_.reset();
    prefixes_.reset();
  }
  void SetUp() override { start(); }
  void TearDown() override { stop(); }

  // Enters the tokens' full blocks, as when a request has computed them and ended.
  void compute(const Tokens& tokens) {
    BlockTables table;
    blocks_->adopt(table, cache_->find(0, tokens));
    const int known = table.size();
    ASSERT_TRUE(blocks_->allocate(table, static_cast<int>(tokens.size()) / kBlock - known));
    cache_->enter(0, tokens, table, known);
    blocks_->release(table);
    mover_->check_integrity();
  }
  int in_memory(const Tokens& tokens) const { return cache_->find(0, tokens).size(); }
  std::uint64_t on_disk() {
    prefixes_->store().flush();
    return prefixes_->store().stats().blocks;
  }
  // As for a request whose prompt these tokens begin.
  void fetch(Tokens tokens, const std::function<bool()>& gone = [] { return false; }) {
    tokens.push_back(63);
    prefixes_->fetch(0, tokens, gone);
  }
  void enter_fetched() {
    mover_->enter_fetched();
    mover_->check_integrity();
    cache_->check_integrity();
    blocks_->check_integrity({});
  }

  TemporaryFolder folder_;
  int wakes_ = 0;
  std::unique_ptr<StoredPrefixes> prefixes_;
  std::unique_ptr<FakeRunner> runner_;
  std::unique_ptr<BlockPools> blocks_;
  std::unique_ptr<PrefixGroups> cache_;
  std::unique_ptr<BlockMover> mover_;
};

TEST_F(BlockMoverTest, WhatWasEnteredComesBackIntoAnEmptyCache) {
  compute(numbers(0, 40));
  EXPECT_EQ(on_disk(), 10u);
  start();
  fetch(numbers(0, 40));
  EXPECT_GE(wakes_, 1);
  EXPECT_EQ(in_memory(numbers(0, 40)), 0) << "this thread's turn comes";
  enter_fetched();
  EXPECT_EQ(in_memory(numbers(0, 40)), 10);
  EXPECT_EQ(blocks_->used(), 0) << "idle, as if a request had ended";
  EXPECT_EQ(on_disk(), 10u);
  EXPECT_EQ(prefixes_->store().stats().written, 0u) << "what is there is not written again";
}

TEST_F(BlockMoverTest, ReadsOnlyWhatMemoryDoesNotHold) {
  compute(numbers(0, 40));
  start();
  compute(numbers(0, 24));
  fetch(numbers(0, 40));
  EXPECT_EQ(prefixes_->store().stats().read, 4u);
  enter_fetched();
  EXPECT_EQ(in_memory(numbers(0, 40)), 10);
  fetch(numbers(0, 40));
  EXPECT_EQ(prefixes_->store().stats().read, 4u);
}

TEST_F(BlockMoverTest, TheLastTokensBlockIsNotRead) {
  compute(numbers(0, 40));
  start();
  prefixes_->fetch(0, numbers(0, 40), [] { return false; });
  EXPECT_EQ(prefixes_->store().stats().read, 9u);
}

TEST_F(BlockMoverTest, TwoWhoReadTheSameMakeOneCopy) {
  compute(numbers(0, 40));
  start();
  fetch(numbers(0, 40));
  fetch(numbers(0, 32));
  enter_fetched();
  EXPECT_EQ(cache_->size(), 10);
}

TEST_F(BlockMoverTest, TakesNobodysBlocks) {
  compute(numbers(0, 40));
  start();
  BlockTables running;
  ASSERT_TRUE(blocks_->allocate(running, 14));
  fetch(numbers(0, 40));
  mover_->enter_fetched();
  EXPECT_EQ(in_memory(numbers(0, 40)), 6) << "as many as fit";
  EXPECT_EQ(blocks_->available(), 6);
  ASSERT_TRUE(blocks_->allocate(running, 6)) << "and they hold up no allocation";
  EXPECT_EQ(cache_->size(), 0);
  mover_->check_integrity();
  fetch(numbers(0, 40));
  mover_->enter_fetched();
  EXPECT_EQ(cache_->size(), 0);
  blocks_->release(running);
}

TEST_F(BlockMoverTest, WhatDoesNotContinueTheCacheAnyMoreIsLetGo) {
  compute(numbers(0, 40));
  start();
  compute(numbers(0, 24));
  fetch(numbers(0, 40));
  BlockTables running;
  ASSERT_TRUE(blocks_->allocate(running, 17));  // evicts the last of the six
  blocks_->release(running);
  enter_fetched();
  EXPECT_EQ(in_memory(numbers(0, 40)), 3);
}

TEST_F(BlockMoverTest, WhatWasForgottenIsNotFoundEvenByWhoHadReadIt) {
  compute(numbers(0, 40));
  start();
  fetch(numbers(0, 40));
  compute(numbers(0, 40));
  cache_->forget(cache_->find(0, numbers(0, 40)));
  enter_fetched();
  EXPECT_EQ(cache_->size(), 0);
  EXPECT_EQ(on_disk(), 0u);
}

TEST_F(BlockMoverTest, WhatWasDroppedIsOfferedAgainWithWhatContinuesIt) {
  start(200, 0);  // two buffers
  Tokens tokens = numbers(0, 400);
  compute(tokens);
  std::uint64_t before = on_disk();
  EXPECT_LT(before, 100u);
  for (int round = 0; before < 100 && round < 100; ++round) {
    for (int i = 0; i < kBlock; ++i) tokens.push_back(7);
    compute(tokens);
    const std::uint64_t now = on_disk();
    EXPECT_GT(now, before);
    before = now;
  }
  start(200);
  fetch(tokens);
  enter_fetched();
  EXPECT_GE(in_memory(tokens), 100);
}

TEST_F(BlockMoverTest, NothingIsReadForARequestThatIsGone) {
  compute(numbers(0, 40));
  start();
  int asked = 0;
  fetch(numbers(0, 40), [&] { return ++asked == 4; });
  EXPECT_EQ(prefixes_->store().stats().read, 3u);
}

TEST_F(BlockMoverTest, OneCallerAtATimeReads) {
  compute(numbers(0, 40));
  start();
  int others = 0;
  fetch(numbers(0, 40), [&] {
    if (others++ == 0) std::thread([this] { fetch(numbers(0, 40)); }).join();
    return false;
  });
  EXPECT_EQ(prefixes_->store().stats().read, 10u) << "and the other computes";
}

TEST_F(BlockMoverTest, ReadingEndsWhenWhatWasReadDoesNotFit) {
  start(200);
  compute(numbers(0, 200));
  ASSERT_EQ(on_disk(), 50u);
  start();
  BlockTables running;
  ASSERT_TRUE(blocks_->allocate(running, 14));
  fetch(numbers(0, 200), [this] {
    mover_->enter_fetched();
    return false;
  });
  EXPECT_EQ(prefixes_->store().stats().read, 16u) << "the first that were handed over";
  EXPECT_EQ(in_memory(numbers(0, 200)), 6);
  blocks_->release(running);
}

TEST_F(BlockMoverTest, ReadingEndsWhenSomethingIsForgotten) {
  start(200);
  compute(numbers(0, 200));
  ASSERT_EQ(on_disk(), 50u);
  start(200);
  compute(numbers(500, 4));
  fetch(numbers(0, 200), [this] {
    if (prefixes_->store().stats().read == 10) cache_->forget(cache_->find(0, numbers(500, 4)));
    mover_->enter_fetched();
    return false;
  });
  EXPECT_EQ(prefixes_->store().stats().read, 16u);
  EXPECT_EQ(in_memory(numbers(0, 200)), 0);
}

// Hears of the cache in the mover's place, and lets that allocate only so often.
class Starved : public PrefixGroups::Listener {
 public:
  Starved(PrefixGroups::Listener& mover, int allocations)
      : mover_(mover), allocations_(allocations) {}
  void on_enter(int block, int parent, std::uint64_t salt, std::span<const int> tokens) override {
    starve([&] { mover_.on_enter(block, parent, salt, tokens); });
  }
  void on_evict(int block) override {
    starve([&] { mover_.on_evict(block); });
  }
  void on_forget(int block) override {
    starve([&] { mover_.on_forget(block); });
  }
  void on_keep_state(int block) override {
    starve([&] { mover_.on_keep_state(block); });
  }
  void on_lasting_state(int block) override {
    starve([&] { mover_.on_lasting_state(block); });
  }
  void on_lose_state(int block) override {
    starve([&] { mover_.on_lose_state(block); });
  }

 private:
  template <class Call>
  void starve(Call call) {
    make_memory_scarce(allocations_);
    EXPECT_NO_THROW(call());
    make_memory_plentiful();
  }

  PrefixGroups::Listener& mover_;
  const int allocations_;
};

TEST_F(BlockMoverTest, WantOfMemoryCostsBlocksOnDiskAndNothingElse) {
  spdlog::set_level(spdlog::level::off);
  for (int allocations = 0; allocations < 40; ++allocations) {
    start();
    Starved starved(*mover_, allocations);
    cache_->set_listener(&starved);
    const int first = 1000 * allocations;
    compute(numbers(first, 40));
    compute(numbers(first + 100, 60));  // evicts half of these
    cache_->forget(cache_->find(0, numbers(first + 100, 60)));
    mover_->check_integrity();
    cache_->set_listener(mover_.get());
    compute(numbers(first + 200, 40));
    EXPECT_GE(on_disk(), 10u);
    fetch(numbers(first + 200, 40));
    enter_fetched();
    EXPECT_EQ(in_memory(numbers(first + 200, 40)), 10);
  }
  spdlog::set_level(spdlog::level::info);
}

}  // namespace
}  // namespace mlxd::testing
