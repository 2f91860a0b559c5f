#include "engine/cache_plan.h"

#include <random>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"

namespace mlxd {
namespace {

RunnerInfo model(std::vector<KvGroup> groups, int context_length = 4096) {
  RunnerInfo info;
  info.context_length = context_length;
  info.block_size = 16;
  info.kv = std::move(groups);
  return info;
}

TEST(CachePlan, OneFullGroupHasAllThatTheLimitHolds) {
  const EngineOptions options{.max_running_sequences = 8, .kv_bytes = 100'500};
  const CachePlan plan = plan_cache(options, model({{.block_bytes = 1000}}));
  EXPECT_EQ(plan.size.blocks, std::vector<int>{100});
  EXPECT_EQ(plan.sequence_blocks, 100);
  EXPECT_EQ(plan.max_sequences, 8);
}

RunnerInfo recurrent(std::size_t state_bytes, std::vector<KvGroup> groups) {
  RunnerInfo info = model(std::move(groups));
  info.state_bytes = state_bytes;
  return info;
}

TEST(CachePlan, StatesHaveHalfOfTheMemoryAtMostAndBlocksTheRest) {
  const EngineOptions options{.max_running_sequences = 4, .kv_bytes = 1'000'000};
  const CachePlan plan = plan_cache(options, recurrent(20'000, {{.block_bytes = 1000}}));
  EXPECT_EQ(plan.size.states, 25);
  EXPECT_EQ(plan.size.blocks[0], 500);
  EXPECT_EQ(plan.max_sequences, 4);
  EXPECT_EQ(plan.snapshot_blocks, 20) << "a snapshot for each 20 kB of KV";
}

TEST(CachePlan, SmallStatesAreNoMoreThanBlocksThatTheyHangOn) {
  const EngineOptions options{.max_running_sequences = 4, .kv_bytes = 1'000'000};
  const CachePlan plan = plan_cache(options, recurrent(100, {{.block_bytes = 1000}}));
  EXPECT_EQ(plan.snapshot_blocks, 1);
  EXPECT_LE(plan.size.states, plan.size.blocks[0] + 3 * 4);
  EXPECT_GE(plan.size.states, plan.size.blocks[0]);
}

TEST(CachePlan, WhereStatesAreLargeFewerSequencesRunDownToOne) {
  EngineOptions options{.max_running_sequences = 64, .kv_bytes = 1'000'000};
  const auto planned = [&](std::size_t state_bytes, int ahead = 0) {
    RunnerInfo info = recurrent(state_bytes, {{.block_bytes = 1000}});
    info.ahead = ahead;
    return plan_cache(options, info);
  };
  EXPECT_EQ(planned(10'000).max_sequences, 16) << "its own, the next, and a snapshot";
  EXPECT_EQ(planned(10'000, 1).max_sequences, 12) << "and one ahead";
  EXPECT_EQ(planned(250'000).max_sequences, 1);
  EXPECT_EQ(planned(250'000).size.states, 2);
  EXPECT_THROW(planned(260'000), StartupError);
  options.state_slots = 3;
  EXPECT_EQ(planned(10'000).max_sequences, 2);
}

TEST(CachePlan, AModelWithoutKvHasAllMemoryForItsStates) {
  const EngineOptions options{.max_running_sequences = 10, .kv_bytes = 1'000'000};
  const CachePlan plan = plan_cache(options, recurrent(40'000, {}));
  EXPECT_EQ(plan.max_sequences, 8);
  EXPECT_EQ(plan.size.states, 24);
  EXPECT_EQ(plan.sequence_blocks, 4096 / 16);
  EXPECT_EQ(plan.token_blocks, 10 * 4096 / 16) << "what ten sequences can fill";
  EXPECT_EQ(plan.snapshot_blocks, options.max_step_tokens / 16) << "a snapshot a step";
}

TEST(CachePlan, BlocksOfTokensAreForAMillionOrForTheLongestSequence) {
  const EngineOptions options{.kv_bytes = std::size_t{1} << 30};
  RunnerInfo info = model({{.block_bytes = 1000, .window = 64}}, 1 << 17);
  const CachePlan plan = plan_cache(options, info);
  EXPECT_EQ(plan.token_blocks, (1 << 20) / 16);
  EXPECT_EQ(plan.size.bytes(info), 1000u * static_cast<std::size_t>(plan.size.blocks[0]))
      << "they take no memory of the cache";
  info.context_length = 1 << 22;
  EXPECT_EQ(plan_cache(options, info).token_blocks, (1 << 22) / 16);
  EXPECT_EQ(plan_cache(options, model({{.block_bytes = 1000}})).token_blocks, 0);
}

TEST(CachePlan, NoGroupHasMoreThanTheRunningSequencesCouldFill) {
  const EngineOptions options{.max_running_sequences = 2, .kv_bytes = std::size_t{1} << 40};
  const CachePlan plan =
      plan_cache(options, model({{.block_bytes = 1000}, {.block_bytes = 1000, .window = 4096}}));
  EXPECT_EQ(plan.size.blocks[0], 2 * 256);
  EXPECT_LE(plan.size.blocks[1], 2 * 258);
}

TEST(CachePlan, AWindowedGroupHasTwoWindowsASequenceAndAStepAndTheFullGroupTheRest) {
  const EngineOptions options{
      .max_running_sequences = 4, .max_step_tokens = 160, .kv_bytes = 300'000};
  const CachePlan plan =
      plan_cache(options, model({{.block_bytes = 1000, .window = 64}, {.block_bytes = 500}}));
  const int reserve = 64 / 16 + 2;
  EXPECT_EQ(plan.reserve, (std::vector<int>{reserve, 0}));
  EXPECT_EQ(plan.size.blocks[0], 4 * (2 * reserve + 1) + 10) << "and what is copied";
  EXPECT_EQ(plan.size.blocks[1], (300'000 - 1000 * plan.size.blocks[0]) / 500);
  EXPECT_EQ(plan.sequence_blocks, plan.size.blocks[1]);
}

TEST(CachePlan, WhereWindowsAreDearFewerSequencesRun) {
  const EngineOptions options{
      .max_running_sequences = 64, .max_step_tokens = 64, .kv_bytes = 1'000'000};
  const CachePlan plan =
      plan_cache(options, model({{.block_bytes = 1000}, {.block_bytes = 1000, .window = 512}}));
  EXPECT_GE(plan.max_sequences, 1);
  EXPECT_LT(plan.max_sequences, 64);
  EXPECT_LE(plan.size.blocks[1], 500);
  EXPECT_GE(plan.size.blocks[0], 500);
}

TEST(CachePlan, WithoutAFullGroupASequenceIsAsLongAsTheContext) {
  const EngineOptions options{.max_running_sequences = 4, .kv_bytes = 100'000};
  const CachePlan plan = plan_cache(options, model({{.block_bytes = 1000, .window = 64}}));
  EXPECT_LT(plan.size.blocks[0], 4096 / 16);
  EXPECT_EQ(plan.sequence_blocks, 4096 / 16);
}

TEST(CachePlan, SaysWhatASequenceNeedsWhereThereIsNotRoomForOne) {
  EXPECT_THROW(plan_cache({.kv_bytes = 999}, model({{.block_bytes = 1000}})), StartupError);
  EXPECT_THROW(plan_cache({.kv_bytes = 5000}, model({{.block_bytes = 1000, .window = 64}})),
               StartupError);
}

TEST(CachePlan, IsNeverMoreThanTheLimitAndAlwaysRoomForEverySequencesReserve) {
  std::mt19937 random(3);
  const auto die = [&](int sides) { return static_cast<int>(random() % sides); };
  int planned = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<KvGroup> groups;
    for (int left = 1 + die(3); left > 0; --left) {
      groups.push_back({std::size_t(1 + die(5000)), 1 + die(600)});
    }
    if (die(3) != 0) groups[die(static_cast<int>(groups.size()))].window = 0;
    RunnerInfo info = model(groups, 16 + die(8000));
    if (die(2) == 0) info.state_bytes = 1 + die(100'000);
    info.ahead = die(2);
    EngineOptions options;
    options.max_running_sequences = 1 + die(70);
    options.max_step_tokens = options.max_running_sequences + die(600);
    options.kv_bytes = std::size_t{1} << (10 + die(18));
    CachePlan plan;
    try {
      plan = plan_cache(options, info);
    } catch (const StartupError&) {
      continue;
    }
    ++planned;
    ASSERT_LE(plan.size.bytes(info), options.kv_bytes);
    ASSERT_GE(plan.max_sequences, 1);
    ASSERT_LE(plan.max_sequences, options.max_running_sequences);
    for (std::size_t group = 0; group < groups.size(); ++group) {
      ASSERT_GT(plan.size.blocks[group], 0);
      ASSERT_GE(plan.size.blocks[group], plan.reserve[group] == 0 ? 1 : plan.reserved(group));
    }
    if (info.state_bytes > 0) {
      ASSERT_GT(plan.size.states, plan.max_sequences);
    }
  }
  EXPECT_GT(planned, 1000);
}

}  // namespace
}  // namespace mlxd
