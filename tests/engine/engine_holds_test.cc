// Prefixes that are held: they outlast other traffic for a time, and never keep anybody waiting.
// And how far a prompt has come.
#include <chrono>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_fixture.h"
#include "engine/prefix_fixture.h"

namespace mlxd::testing {
namespace {

using std::chrono::seconds;

constexpr int kAll = std::numeric_limits<int>::max();

// 100 blocks of 4 tokens.
class HeldPrefixes : public ::testing::Test {
 protected:
  EngineOptions options() const {
    EngineOptions options;
    options.kv_blocks = 100;
    options.max_draft_tokens = 0;
    options.check_integrity = true;
    return options;
  }

  std::vector<int> prompt(int tokens) { return random_tokens(random_, tokens); }

  GenerateJob holding(const std::vector<int>& prompt, int tokens, seconds time) {
    GenerateJob job = job_of(prompt, 1);
    job.holds = {{tokens, time}};
    return job;
  }

  // As much again as the cache has room for.
  void make_traffic(Engine& engine) {
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(run(engine, job_of(prompt(80), 1)).completed());
  }

  std::mt19937 random_{21};
};

TEST_F(HeldPrefixes, OutlastTrafficThatWouldEvictThem) {
  auto engine = make_engine(options());
  const std::vector<int> held = prompt(81), other = prompt(81);
  run(*engine, holding(held, kAll, seconds(3600)));
  run(*engine, job_of(other, 1));
  EXPECT_EQ(engine->stats().kv_blocks_held, 20);
  make_traffic(*engine);
  EXPECT_EQ(cached(run(*engine, job_of(other, 1))), 0);
  EXPECT_EQ(cached(run(*engine, job_of(held, 1))), 80);
}

TEST_F(HeldPrefixes, AreHeldAsFarAsTheJobSays) {
  auto engine = make_engine(options());
  const std::vector<int> held = prompt(81);
  run(*engine, holding(held, 43, seconds(3600)));
  EXPECT_EQ(engine->stats().kv_blocks_held, 10);
  make_traffic(*engine);
  EXPECT_EQ(cached(run(*engine, job_of(held, 1))), 40);
}

TEST_F(HeldPrefixes, GoWhenTheirTimeIsOver) {
  auto engine = make_engine(options());
  const std::vector<int> held = prompt(81);
  run(*engine, holding(held, kAll, seconds(1)));
  const TimePoint limit = in_seconds(30);
  while (engine->stats().kv_blocks_held > 0 && Clock::now() < limit) {
    run(*engine, job_of(prompt(5), 1));
  }
  EXPECT_EQ(engine->stats().kv_blocks_held, 0);
  make_traffic(*engine);
  EXPECT_EQ(cached(run(*engine, job_of(held, 1))), 0);
}

TEST_F(HeldPrefixes, AreHalfOfTheCacheAtMostAndTheOldestGivesWay) {
  auto engine = make_engine(options());
  const std::vector<int> first = prompt(81), second = prompt(81), third = prompt(81);
  for (const auto& each : {first, second, third}) {
    run(*engine, holding(each, kAll, seconds(3600)));
    EXPECT_LE(engine->stats().kv_blocks_held, 50);
  }
  make_traffic(*engine);
  EXPECT_EQ(cached(run(*engine, job_of(first, 1))), 40) << "its end is let go first";
  EXPECT_EQ(cached(run(*engine, job_of(second, 1))), 80);
  EXPECT_EQ(cached(run(*engine, job_of(third, 1))), 80);
}

TEST_F(HeldPrefixes, NeverKeepARequestFromItsBlocks) {
  auto engine = make_engine(options());
  const std::vector<int> held = prompt(160);
  run(*engine, holding(held, kAll, seconds(3600)));
  EXPECT_TRUE(run(*engine, job_of(prompt(396), 4)).completed());
  EXPECT_EQ(engine->stats().preemptions, 0U);
  EXPECT_EQ(cached(run(*engine, job_of(held, 1))), 0) << "all blocks were needed";
}

TEST_F(HeldPrefixes, OfAPreemptedOrFailedRequestLeaveTheCacheInOrder) {
  for (const bool fails : {false, true}) {
    auto engine = make_engine(options(), fails ? failing_now_and_then() : FakeOptions{});
    std::vector<GenerateJob> jobs = shared_prefix_jobs(7, 60);
    for (GenerateJob& job : jobs) {
      const int tokens = random_() % 2 == 0 ? kAll : static_cast<int>(random_() % 40);
      job.holds = {{tokens, seconds(random_() % 3)}};
    }
    for (const Answer& answer : run_in_waves(*engine, jobs, 12)) {
      EXPECT_EQ(answer.terminals.size(), 1U);
    }
    EXPECT_EQ(engine->stats().kv_blocks_used, 0);
  }
}

TEST_F(HeldPrefixes, HoldTheStatesThatTheyAreContinuedFrom) {
  FakeOptions fake;
  fake.state_bytes = 64;
  EngineOptions few = options();
  few.max_running_sequences = 2;
  few.state_slots = 10;
  auto engine = make_engine(few, fake);
  const std::vector<int> held = prompt(81);
  run(*engine, holding(held, kAll, seconds(3600)));
  for (int i = 0; i < 10; ++i) run(*engine, job_of(prompt(20), 1));
  EXPECT_EQ(cached(run(*engine, job_of(held, 1))), 80);
}

TEST(PromptProgressOf, APromptIsToldStepByStep) {
  EngineOptions options;
  options.max_step_tokens = 16;
  options.max_running_sequences = 4;
  auto engine = make_engine(options);
  std::mt19937 random(4);
  GenerateJob job = job_of(random_tokens(random, 50), 3);
  EXPECT_TRUE(run(*engine, job).progress.empty()) << "nobody asked";
  job.prompt = joined(job.prompt, random_tokens(random, 50));
  job.progress = true;
  job.samples = 2;
  const Answer answer = run(*engine, job);
  ASSERT_GE(answer.progress.size(), 3U);
  int before = 48;
  for (const PromptProgress& progress : answer.progress) {
    EXPECT_EQ(progress.total, 100);
    EXPECT_EQ(progress.cached, 48);
    EXPECT_GT(progress.processed, before);
    EXPECT_GE(progress.seconds, 0);
    before = progress.processed;
  }
  EXPECT_EQ(before, 100);
}

}  // namespace
}  // namespace mlxd::testing
