// The engine with its prefix cache: the same answers as without, and less to compute.
#include <atomic>
#include <limits>
#include <random>
#include <stdexcept>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_fixture.h"
#include "engine/prefix_fixture.h"

namespace mlxd::testing {
namespace {

using Outcome = RequestFinished::Outcome;

TEST(PrefixReuse, ComputesOnlyWhatFollowsTheLongestKnownPrefixOfWholeBlocks) {
  const RowCounter counter;
  auto engine = make_engine({}, counter.fake());
  std::mt19937 random(1);
  const std::vector<int> prompt = random_tokens(random, 22);
  EXPECT_EQ(cached(run(*engine, job_of(prompt, 1))), 0);
  EXPECT_EQ(counter.since_last(), 22);
  EXPECT_EQ(cached(run(*engine, job_of(prompt, 1))), 20);
  EXPECT_EQ(counter.since_last(), 2);
  const std::vector<int> whole_blocks(prompt.begin(), prompt.begin() + 20);
  EXPECT_EQ(cached(run(*engine, job_of(whole_blocks, 1))), 16)
      << "the last token's logits are wanted";
  EXPECT_EQ(counter.since_last(), 4);
  std::vector<int> other = prompt;
  other[9] ^= 1;
  EXPECT_EQ(cached(run(*engine, job_of(other, 1))), 8);
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.cached_prompt_tokens, 44u);
  EXPECT_EQ(stats.prompt_tokens, 22u + 2 + 4 + 14);
  EXPECT_EQ(stats.kv_blocks_used, 0);
  EXPECT_EQ(stats.kv_blocks_cached, 5 + 3);
}

TEST(PrefixReuse, AnAgentsSecondTurnComputesOnlyWhatIsNew) {
  const RowCounter counter;
  auto engine = make_engine({.max_draft_tokens = 0}, counter.fake(16));
  std::mt19937 random(2);
  const std::vector<int> history = random_tokens(random, 4000);
  const Answer first = run(*engine, job_of(history, 101));
  EXPECT_EQ(counter.since_last(), 4100);
  const auto second = joined(joined(history, first.tokens[0]), random_tokens(random, 30));
  const Answer answer = run(*engine, job_of(second, 1));
  EXPECT_EQ(cached(answer), 4096) << "the first turn's answer is found too";
  EXPECT_EQ(counter.since_last(), 4131 - 4096);
}

TEST(PrefixReuse, SaltsDoNotShare) {
  auto engine = make_engine();
  std::mt19937 random(3);
  GenerateJob job = job_of(random_tokens(random, 30), 5);
  job.cache_salt = 1;
  const Answer first = run(*engine, job);
  EXPECT_EQ(cached(run(*engine, job)), 28);
  job.cache_salt = 2;
  const Answer other = run(*engine, job);
  EXPECT_EQ(cached(other), 0);
  EXPECT_EQ(other.tokens, first.tokens);
}

TEST(PrefixReuse, TheSwitchTurnsItOff) {
  auto engine = make_engine({.prefix_cache = false});
  std::mt19937 random(4);
  const GenerateJob job = job_of(random_tokens(random, 30), 5);
  run(*engine, job);
  EXPECT_EQ(cached(run(*engine, job)), 0);
  EXPECT_EQ(engine->stats().kv_blocks_cached, 0);
}

TEST(PrefixReuse, PromptLogprobsAreComputedFromTheFirstToken) {
  auto engine = make_engine();
  std::mt19937 random(5);
  GenerateJob job = job_of(random_tokens(random, 30), 3);
  run(*engine, job);
  job.prompt_logprobs = 2;
  const Answer answer = run(*engine, job);
  EXPECT_EQ(cached(answer), 0);
  ASSERT_EQ(answer.prompt.size(), 30u);
  for (std::size_t i = 1; i < 30; ++i) EXPECT_TRUE(answer.prompt[i].has_logprob);
}

TEST(PrefixReuse, CountsTheTokensOfSeveralSamplesOnce) {
  auto engine = make_engine();
  std::mt19937 random(6);
  GenerateJob job = job_of(random_tokens(random, 30), 9);
  job.samples = 3;
  const Answer first = run(*engine, job);
  const Answer second = run(*engine, job);
  EXPECT_EQ(cached(second), 28);
  EXPECT_EQ(second.tokens, first.tokens);
  for (const auto& sample : first.tokens) {
    EXPECT_EQ(cached(run(*engine, job_of(joined(job.prompt, sample), 1))), 36)
        << "each sample's blocks are there";
  }
}

TEST(PrefixReuse, KeepsOneCopyOfAPromptThatManySendTogether) {
  auto engine = make_engine();
  std::mt19937 random(7);
  const GenerateJob job = job_of(random_tokens(random, 41), 1);
  std::vector<RequestHandle> handles;
  for (int i = 0; i < 20; ++i) handles.push_back(*engine->submit(job));
  for (RequestHandle& handle : handles) EXPECT_TRUE(read_all(handle).completed());
  EXPECT_EQ(engine->stats().kv_blocks_cached, 10);
}

TEST(PrefixReuse, WhatAFailedRequestComputedIsNotFound) {
  auto broken = std::make_shared<std::atomic<bool>>(true);
  FakeOptions fake;
  fake.edit_logits = [=](std::span<const int> history, std::span<float> logits) {
    if (*broken && history.size() > 45) logits[0] = std::numeric_limits<float>::quiet_NaN();
  };
  auto engine = make_engine({.max_step_tokens = 16}, fake);
  std::mt19937 random(8);
  const GenerateJob bystander = job_of(random_tokens(random, 20), 3);
  run(*engine, bystander);
  const int before = engine->stats().kv_blocks_cached;
  const GenerateJob job = job_of(random_tokens(random, 40), 20);
  EXPECT_EQ(run(*engine, job).error_code(), "internal_error");
  EXPECT_EQ(engine->stats().kv_blocks_cached, before);
  *broken = false;
  EXPECT_EQ(cached(run(*engine, job)), 0);
  EXPECT_EQ(cached(run(*engine, bystander)), 16) << "others' blocks stay";
}

TEST(PrefixReuse, TakesNoMemoryFromRequests) {
  // 12 blocks: each request needs them all, and the cache has them all when it comes.
  auto engine = make_engine({.kv_blocks = 12});
  std::mt19937 random(9);
  for (int i = 0; i < 20; ++i) {
    const Answer answer = run(*engine, job_of(random_tokens(random, 40), 9));
    ASSERT_TRUE(answer.completed());
    ASSERT_EQ(engine->stats().kv_blocks_cached, 12);
  }
  EXPECT_EQ(engine->stats().preemptions, 0u);
}

TEST(PrefixReuse, AnswersAreTheSameWithAndWithoutIt) {
  const auto jobs = shared_prefix_jobs(11, 600);
  EngineOptions options;
  options.max_queued_requests = 100;
  options.max_running_sequences = 12;
  options.max_step_tokens = 40;
  options.prefix_cache = false;
  auto without = make_engine(options);
  const auto expected = run_in_waves(*without, jobs, 50);
  options.prefix_cache = true;
  for (const int kv_blocks : {2000, 120, 45}) {
    options.kv_blocks = kv_blocks;
    auto with = make_engine(options);
    const auto answers = run_in_waves(*with, jobs, 50);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      SCOPED_TRACE(i);
      ASSERT_NO_FATAL_FAILURE(expect_same(answers[i], expected[i]));
    }
    const EngineStats stats = with->stats();
    EXPECT_GT(stats.cached_prompt_tokens, kv_blocks == 45 ? 500u : 3000u);
    EXPECT_EQ(stats.kv_blocks_used, 0);
    EXPECT_GE(stats.preemptions, kv_blocks == 45 ? 20u : 0u);
  }
}

// Samples that fork within a block copy it, and end while the copy's source is still held.
TEST(PrefixReuse, SamplesThatEndInTheStepOfACopyLeaveTheCacheInOrder) {
  FakeOptions fake;
  fake.edit_logits = [](std::span<const int>, std::span<float> logits) { logits[5] += 4; };
  auto engine = make_engine({.kv_blocks = 40}, fake);
  std::mt19937 random(10);
  for (int i = 0; i < 300; ++i) {
    GenerateJob job = job_of(random_tokens(random, 1 + static_cast<int>(random() % 12)), 6, i);
    job.samples = 4;
    job.stop_ids = {5};
    ASSERT_TRUE(run(*engine, job).completed());
  }
}

TEST(PrefixReuse, AnswersAreTheSameBesideFailuresAndCancels) {
  const auto jobs = shared_prefix_jobs(12, 400);
  auto quiet = make_engine({.prefix_cache = false});
  const auto expected = run_in_waves(*quiet, jobs, 40);
  auto engine = make_engine(tight_options(), failing_now_and_then());
  std::mt19937 random(13);
  int completed = 0;
  for (std::size_t begin = 0; begin < jobs.size(); begin += 40) {
    auto handles = submit_with_cancels(*engine, std::span(jobs).subspan(begin, 40), random);
    for (std::size_t i = 0; i < handles.size(); ++i) {
      const Answer answer = read_all(handles[i]);
      ASSERT_EQ(answer.terminals.size(), 1u);
      const Answer& whole = expected[begin + i];
      if (answer.completed()) {
        ++completed;
        ASSERT_NO_FATAL_FAILURE(expect_same(answer, whole));
      }
      for (std::size_t sample = 0; sample < answer.tokens.size(); ++sample) {
        const auto& part = answer.tokens[sample];
        ASSERT_LE(part.size(), whole.tokens[sample].size());
        ASSERT_TRUE(std::ranges::equal(part, std::span(whole.tokens[sample]).first(part.size())));
      }
    }
  }
  EXPECT_GT(completed, 100);
  EXPECT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }));
}

}  // namespace
}  // namespace mlxd::testing
