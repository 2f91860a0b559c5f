// Models with sliding windows, a pool for each KV group, and what a window has passed is let go;
// and with recurrent states.
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "engine/prefix_fixture.h"
#include "prefix_store/temporary_folder.h"

namespace mlxd::testing {
namespace {

struct Case {
  std::string name;
  std::vector<KvGroup> groups;
  std::size_t state_bytes = 0;

  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

const Case kCases[] = {
    {"full_and_window", {{.block_bytes = 1024}, {.block_bytes = 512, .window = 6}}},
    {"full_and_two_windows",
     {{.block_bytes = 1024}, {.block_bytes = 512, .window = 1}, {.block_bytes = 512, .window = 9}}},
    {"window", {{.block_bytes = 1024, .window = 7}}},
    {"full_and_states", {{.block_bytes = 1024}}, 3000},
    {"window_and_full_and_states",
     {{.block_bytes = 512, .window = 17}, {.block_bytes = 1024}},
     1000},
    {"window_and_states", {{.block_bytes = 1024, .window = 7}}, 1000},
    {"states", {}, 1000},
};

class EngineWindows : public ::testing::TestWithParam<std::tuple<Case, Combination>> {
 protected:
  void SetUp() override { combination() = &std::get<1>(GetParam()); }
  void TearDown() override { combination() = &kUsual; }
  FakeOptions fake() const {
    FakeOptions options;
    options.kv = std::get<0>(GetParam()).groups;
    options.state_bytes = std::get<0>(GetParam()).state_bytes;
    return options;
  }
  // Of a prompt of 120 tokens and an answer of 30: states within the prompt, before its last token,
  // and at the answer's last block.
  std::size_t state_files() const {
    const std::size_t bytes = fake().state_bytes;
    if (bytes == 0) return 0;
    std::size_t full = 0, all = 0;
    for (const KvGroup& group : fake().kv) {
      all += group.block_bytes;
      if (group.window == 0) full += group.block_bytes;
    }
    if (full == 0) full = all;
    const std::size_t stride = 4 * ((bytes + full - 1) / full);
    const std::size_t states = 116 / stride + (116 % stride > 0) + 1;
    return states * ((bytes + all - 1) / all);
  }
  bool has_full() const { return std::ranges::count(fake().kv, 0, &KvGroup::window) > 0; }
  bool has_kv() const { return !fake().kv.empty(); }
};

TEST_P(EngineWindows, AnswersAreThoseOfASequenceAlone) {
  const auto jobs = shared_prefix_jobs(7, 120);
  std::vector<Answer> alone;
  for (const GenerateJob& job : jobs) alone.push_back(run_alone(job, fake()));
  for (const int kv_blocks : {2000, 120, 45}) {
    SCOPED_TRACE(kv_blocks);
    EngineOptions options = tight_options();
    options.kv_blocks = kv_blocks;
    auto engine = make_engine(options, fake());
    const auto answers = run_in_waves(*engine, jobs, 30);
    ASSERT_EQ(answers.size(), jobs.size());
    for (std::size_t i = 0; i < jobs.size(); ++i) expect_same(answers[i], alone[i]);
    const EngineStats stats = engine->stats();
    EXPECT_EQ(stats.kv_blocks_used, 0);
    EXPECT_TRUE(eventually([&] { return engine->stats().states_used == 0; }));
    EXPECT_GT(stats.cached_prompt_tokens, 200u) << "prefixes are found";
    EXPECT_GE(stats.preemptions, has_full() && kv_blocks == 45 ? 5u : 0u);
  }
}

TEST_P(EngineWindows, AFailedStepCostsNobodyElseTheirAnswer) {
  const auto jobs = shared_prefix_jobs(8, 60);
  FakeOptions failing = failing_now_and_then();
  failing.kv = fake().kv;
  failing.state_bytes = fake().state_bytes;
  auto engine = make_engine(tight_options(), failing);
  const auto answers = run_in_waves(*engine, jobs, 20);
  int completed = 0;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (!answers.at(i).completed()) continue;
    ++completed;
    expect_same(answers[i], run_alone(jobs[i], fake()));
  }
  EXPECT_GT(completed, 40);
}

TEST_P(EngineWindows, WhatWasComputedIsFoundOnDiskAfterARestart) {
  if (!has_kv()) GTEST_SKIP() << "there is nothing to write of blocks that hold nothing";
  TemporaryFolder folder;
  EngineOptions options;
  options.kv_blocks = 200;
  options.prefix_disk.directory = folder.path();
  options.prefix_disk.model = [] { return "a model"; };
  std::mt19937 random(5);
  const auto job = job_of(random_tokens(random, 120), 30);
  const Answer alone = run_alone(job, fake());
  {
    auto engine = make_engine(options, fake());
    expect_same(run(*engine, job), alone);
    ASSERT_TRUE(
        eventually([&] { return engine->stats().prefix_store.blocks >= 37 + state_files(); }));
  }
  auto engine = make_engine(options, fake());
  const Answer again = run(*engine, job);
  expect_same(again, alone);
  EXPECT_EQ(cached(again), 116);
}

INSTANTIATE_TEST_SUITE_P(Groups, EngineWindows,
                         ::testing::Combine(::testing::ValuesIn(kCases),
                                            ::testing::Values(kUsual, kAhead)),
                         [](const auto& test) {
                           return std::get<0>(test.param).name + "_" + std::get<1>(test.param).name;
                         });

// The pool of the windowed group is far smaller than the sequence.
TEST(EngineWindows, ALongSequenceHoldsItsWindowAndNoMore) {
  for (const bool with_full : {true, false}) {
    FakeOptions fake;
    const KvGroup windowed{.block_bytes = 1024, .window = 16};
    fake.kv = {windowed};
    if (with_full) fake.kv.push_back({.block_bytes = 64});
    const auto most_held = std::make_shared<std::atomic<int>>(0);
    const auto most_rows = std::make_shared<std::atomic<int>>(0);
    fake.before_step = [=](const Batch& batch, std::uint64_t) {
      for (const BatchSequence& sequence : batch.sequences) {
        const auto table = sequence.blocks[0];
        const auto gone = static_cast<int>(std::ranges::count(table, -1));
        *most_held = std::max<int>(*most_held, static_cast<int>(table.size()) - gone);
        *most_rows = std::max(most_rows->load(), sequence.query_length);
      }
    };
    EngineOptions options;
    options.max_running_sequences = 1;
    options.max_step_tokens = 64;
    options.kv_bytes = 100 << 10;
    auto engine = make_engine(options, fake);
    std::mt19937 random(5);
    const auto job = job_of(random_tokens(random, 600), 600);
    const Answer answer = run(*engine, job);
    ASSERT_TRUE(answer.completed()) << answer.error_code();
    FakeOptions plain;
    plain.kv = fake.kv;
    expect_same(answer, run_alone(job, plain));
    // Two reserves of 6 blocks and a step's 16, of the 300 that the sequence has.
    EXPECT_LE(*most_held, 28);
    EXPECT_EQ(*most_rows, 64) << "chunks are as large as without windows";
    EXPECT_LE(engine->stats().memory.kv_reserved, options.kv_bytes);
    EXPECT_EQ(engine->stats().kv_blocks_used, 0);
  }
}

TEST(EngineWindows, APromptIsComputedInChunksThatItsWindowsPoolHolds) {
  FakeOptions fake;
  fake.kv = {{.block_bytes = 1024}, {.block_bytes = 1024, .window = 16}};
  std::mt19937 random(6);
  const auto job = job_of(random_tokens(random, 390), 10);
  const Answer alone = run_alone(job, fake);
  const auto most_rows = std::make_shared<std::atomic<int>>(0);
  fake.before_step = [=](const Batch& batch, std::uint64_t) {
    *most_rows = std::max(most_rows->load(), batch.rows());
  };
  EngineOptions options;
  options.max_running_sequences = 1;
  options.max_step_tokens = 400;
  options.kv_bytes = 210 << 10;  // of 210 blocks the full group needs 100
  options.kv_blocks = 0;
  for (const int windows : {20, 6}) {
    // The windowed group has half of the memory at most.
    fake.kv[1].block_bytes = (105 << 10) / windows;
    auto engine = make_engine(options, fake);
    expect_same(run(*engine, job), alone);
    EXPECT_LE(*most_rows, windows * 4);
    EXPECT_GE(*most_rows, windows * 3);
    *most_rows = 0;
  }
}

// The prompt's last piece in flight holds all blocks of its window's pool, and lets go of them only
// when it is over.
TEST(EngineWindows, ADecodedRowBehindALongPieceOfAPromptWaitsForRoom) {
  FakeOptions fake;
  fake.kv = {{.block_bytes = 1024, .window = 16}};
  std::mt19937 random(7);
  for (int length = 20; length <= 60; ++length) {
    SCOPED_TRACE(length);
    const auto job = job_of(random_tokens(random, length), 12);
    const Answer alone = run_alone(job, fake);
    fake.draws = true;
    fake.ahead = 1;
    EngineOptions options;
    options.max_running_sequences = 1;
    options.max_step_tokens = 400;
    options.kv_blocks = 6;  // the reserve alone: 24 positions
    auto engine = make_engine(options, fake);
    expect_same(run(*engine, job), alone);
  }
}

TEST(EngineWindows, MoreSamplesThanWindowsHaveRoomForAreRefused) {
  FakeOptions fake;
  fake.kv = {{.block_bytes = 64}, {.block_bytes = 1024, .window = 16}};
  EngineOptions options;
  options.kv_bytes = 100 << 10;
  auto engine = make_engine(options, fake);
  GenerateJob job = job_of({1, 2, 3}, 4);
  job.samples = 60;
  const auto refused = engine->submit(job);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().param, "n");
}

}  // namespace
}  // namespace mlxd::testing
