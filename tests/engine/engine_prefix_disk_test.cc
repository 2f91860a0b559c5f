// The engine with a prefix cache that survives it: the same answers, and less to compute after a
// restart.
#include <atomic>
#include <fstream>
#include <limits>
#include <random>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_fixture.h"
#include "engine/prefix_fixture.h"
#include "prefix_store/temporary_folder.h"

namespace mlxd::testing {
namespace {

class PrefixOnDisk : public ::testing::Test {
 protected:
  EngineOptions on_disk(EngineOptions options = {}) const {
    options.prefix_disk.directory = folder_.path();
    options.prefix_disk.model = [] { return "a model"; };
    return options;
  }

  // One engine's whole life; what it computed is on disk afterwards.
  Answer run_once(const GenerateJob& job, FakeOptions fake = {}) {
    auto engine = make_engine(on_disk(), std::move(fake));
    return run(*engine, job);
  }

  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path())) {
      if (entry.is_regular_file() && entry.path().filename() != "identity") {
        files.push_back(entry.path());
      }
    }
    return files;
  }

  TemporaryFolder folder_;
  std::mt19937 random_{1};
};

TEST_F(PrefixOnDisk, AfterARestartAnAgentsSecondTurnComputesOnlyWhatIsNew) {
  const RowCounter counter;
  const std::vector<int> history = random_tokens(random_, 4000);
  auto engine = make_engine(on_disk({.max_draft_tokens = 0}), counter.fake(16));
  const Answer first = run(*engine, job_of(history, 101));
  EXPECT_EQ(counter.since_last(), 4100);
  engine.reset();
  engine = make_engine(on_disk({.max_draft_tokens = 0}), counter.fake(16));
  const auto second = joined(joined(history, first.tokens[0]), random_tokens(random_, 30));
  const Answer answer = run(*engine, job_of(second, 1));
  EXPECT_EQ(cached(answer), 4096);
  EXPECT_EQ(counter.since_last(), 4131 - 4096);
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.prefix_store.read, 256u);
  EXPECT_EQ(stats.cached_prompt_tokens, 4096u);
  EXPECT_GT(stats.memory.buffers, stats.prefix_store.buffer_bytes);
}

TEST_F(PrefixOnDisk, WhatMemoryHadToGiveUpIsFoundAgain) {
  auto engine = make_engine(on_disk({.kv_blocks = 12}));
  const GenerateJob one = job_of(random_tokens(random_, 40), 1);
  const GenerateJob other = job_of(random_tokens(random_, 40), 1);
  const Answer first = run(*engine, one);
  run(*engine, other);
  ASSERT_TRUE(eventually([&] { return engine->stats().prefix_store.blocks == 20; }));
  const Answer again = run(*engine, one);
  EXPECT_EQ(cached(again), 36);
  EXPECT_EQ(again.tokens, first.tokens);
}

TEST_F(PrefixOnDisk, BlocksThatTheReadersBuffersDoNotHoldAtOnceAllComeBack) {
  FakeOptions fake;
  fake.kv[0].block_bytes = 2 << 20;  // 16 of them
  const GenerateJob job = job_of(random_tokens(random_, 101), 3);
  const Answer first = run_once(job, fake);
  const Answer again = run_once(job, fake);
  EXPECT_EQ(cached(again), 100);
  EXPECT_EQ(again.tokens, first.tokens);
}

TEST_F(PrefixOnDisk, SaltsDoNotShareAfterARestartEither) {
  GenerateJob job = job_of(random_tokens(random_, 30), 5);
  job.cache_salt = 1;
  run_once(job);
  EXPECT_EQ(cached(run_once(job)), 28);
  job.cache_salt = 2;
  EXPECT_EQ(cached(run_once(job)), 0);
}

TEST_F(PrefixOnDisk, AnotherModelFindsNothing) {
  const GenerateJob job = job_of(random_tokens(random_, 30), 5);
  run_once(job);
  EngineOptions options = on_disk();
  options.prefix_disk.model = [] { return "another model"; };
  EXPECT_EQ(cached(run(*make_engine(options), job)), 0);
  FakeOptions fake;
  fake.kv_format = "fake-2";
  EXPECT_EQ(cached(run_once(job, fake)), 0) << "or one that computes otherwise";
  EXPECT_EQ(cached(run_once(job)), 28);
}

TEST_F(PrefixOnDisk, PromptLogprobsAreComputedFromTheFirstToken) {
  GenerateJob job = job_of(random_tokens(random_, 30), 3);
  run_once(job);
  job.prompt_logprobs = 2;
  const Answer answer = run_once(job);
  EXPECT_EQ(cached(answer), 0);
  EXPECT_EQ(answer.prompt.size(), 30u);
}

TEST_F(PrefixOnDisk, WhatAFailedRequestComputedIsNotFoundAfterARestart) {
  FakeOptions fake;
  fake.edit_logits = [](std::span<const int> history, std::span<float> logits) {
    if (history.size() > 45) logits[0] = std::numeric_limits<float>::quiet_NaN();
  };
  const GenerateJob bystander = job_of(random_tokens(random_, 20), 3);
  const GenerateJob job = job_of(random_tokens(random_, 40), 20);
  run_once(bystander);
  EXPECT_EQ(run_once(job, fake).error_code(), "internal_error");
  EXPECT_EQ(cached(run_once(job)), 0);
  EXPECT_EQ(cached(run_once(bystander)), 16) << "others' blocks stay";
}

TEST_F(PrefixOnDisk, ADamagedFileIsAMissAndIsMended) {
  const GenerateJob job = job_of(random_tokens(random_, 40), 4);
  const Answer expected = run_once(job);
  std::uint64_t damaged = 0;
  for (const auto& file : files()) {
    std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(300).put('!');
    auto engine = make_engine(on_disk());
    const Answer answer = run(*engine, job);
    EXPECT_LE(cached(answer), 36);
    EXPECT_EQ(answer.tokens, expected.tokens);
    damaged += engine->stats().prefix_store.damaged;
    engine.reset();
    EXPECT_EQ(cached(run_once(job)), 36);
  }
  EXPECT_EQ(damaged, 9u) << "the tenth block holds the last token, and is not read";
}

TEST_F(PrefixOnDisk, ABackendWhoseBlocksStayWhereTheyAreServesWithoutIt) {
  FakeOptions fake;
  fake.kv_format = "";
  EngineOptions options = on_disk();
  options.prefix_disk.model = [] {
    ADD_FAILURE() << "its weights are not even summed";
    return "";
  };
  const GenerateJob job = job_of(random_tokens(random_, 40), 4);
  EXPECT_TRUE(run(*make_engine(options, fake), job).completed());
  EXPECT_EQ(cached(run(*make_engine(options, fake), job)), 0);
  EXPECT_TRUE(files().empty());
}

TEST_F(PrefixOnDisk, AFolderThatCannotBeUsedIsNoReasonNotToServe) {
  EngineOptions options = on_disk();
  std::ofstream(folder_.path() / "file") << "in the way";
  options.prefix_disk.directory = folder_.path() / "file" / "folder";
  auto engine = make_engine(options);
  const GenerateJob job = job_of(random_tokens(random_, 40), 4);
  run(*engine, job);
  EXPECT_EQ(cached(run(*engine, job)), 36) << "the cache in memory is there";
}

TEST_F(PrefixOnDisk, WeightsThatCannotBeSummedAreNoReasonNotToServe) {
  EngineOptions options = on_disk();
  options.prefix_disk.model = []() -> std::string { throw std::runtime_error("no Poly1305"); };
  auto engine = make_engine(options);
  EXPECT_TRUE(run(*engine, job_of(random_tokens(random_, 40), 4)).completed());
  EXPECT_TRUE(files().empty());
}

TEST_F(PrefixOnDisk, TheSwitchTurnsItOffToo) {
  const GenerateJob job = job_of(random_tokens(random_, 40), 4);
  auto engine = make_engine(on_disk({.prefix_cache = false}));
  EXPECT_TRUE(run(*engine, job).completed());
  EXPECT_TRUE(files().empty());
}

class PrefixOnDiskInWays : public PrefixOnDisk, public ::testing::WithParamInterface<Combination> {
 protected:
  void SetUp() override { combination() = &GetParam(); }
  void TearDown() override { combination() = &kUsual; }
};
INSTANTIATE_TEST_SUITE_P(In, PrefixOnDiskInWays,
                         ::testing::Values(kUsual, kScarceStates, kAheadStates),
                         [](const auto& made) { return std::string(made.param.name); });

// A new engine for each wave: what is found was read from disk, under every pressure on memory.
TEST_P(PrefixOnDiskInWays, AnswersAreTheSameWithAndWithoutIt) {
  const auto jobs = shared_prefix_jobs(21, 300);
  EngineOptions options;
  options.max_queued_requests = 100;
  options.max_running_sequences = 12;
  options.max_step_tokens = 40;
  options.prefix_cache = false;
  const auto expected = run_in_waves(*make_engine(options), jobs, 50);
  options.prefix_cache = true;
  for (const int kv_blocks : {2000, 120, 45}) {
    options.kv_blocks = kv_blocks;
    options.prefix_disk.max_bytes = kv_blocks == 2000 ? 1 << 20 : 100 << 20;  // evicting there too
    std::uint64_t read = 0, preemptions = 0;
    for (std::size_t begin = 0; begin < jobs.size(); begin += 50) {
      auto engine = make_engine(on_disk(options));
      const std::vector<GenerateJob> wave(jobs.begin() + begin, jobs.begin() + begin + 50);
      const auto answers = run_in_waves(*engine, wave, 50);
      for (std::size_t i = 0; i < wave.size(); ++i) {
        SCOPED_TRACE(begin + i);
        ASSERT_NO_FATAL_FAILURE(expect_same(answers[i], expected[begin + i]));
      }
      const EngineStats stats = engine->stats();
      EXPECT_EQ(stats.kv_blocks_used, 0);
      EXPECT_EQ(stats.prefix_store.damaged, 0u);
      read += stats.prefix_store.read;
      preemptions += stats.preemptions;
    }
    EXPECT_GT(read, 100u) << kv_blocks;
    EXPECT_GE(preemptions, kv_blocks == 45 ? 10u : 0u);
  }
}

TEST_P(PrefixOnDiskInWays, AnswersAreTheSameBesideFailuresAndCancels) {
  const auto jobs = shared_prefix_jobs(22, 240);
  const auto expected = run_in_waves(*make_engine({.prefix_cache = false}), jobs, 40);
  int completed = 0;
  for (std::size_t begin = 0; begin < jobs.size(); begin += 40) {
    auto engine = make_engine(on_disk(tight_options()), failing_now_and_then());
    auto handles = submit_with_cancels(*engine, std::span(jobs).subspan(begin, 40), random_);
    for (std::size_t i = 0; i < handles.size(); ++i) {
      const Answer answer = read_all(handles[i]);
      ASSERT_EQ(answer.terminals.size(), 1u);
      if (!answer.completed()) continue;
      ++completed;
      ASSERT_NO_FATAL_FAILURE(expect_same(answer, expected[begin + i]));
    }
  }
  EXPECT_GT(completed, 50);
}

TEST_F(PrefixOnDisk, ManyThreadsSubmitAtOnce) {
  const auto jobs = shared_prefix_jobs(23, 120);
  const auto expected = run_in_waves(*make_engine({.prefix_cache = false}), jobs, 40);
  for (int life = 0; life < 2; ++life) {
    auto engine = make_engine(on_disk({.kv_blocks = 150}));
    std::vector<Answer> answers(jobs.size());
    std::vector<std::thread> callers;
    for (std::size_t caller = 0; caller < 4; ++caller) {
      callers.emplace_back([&, caller] {
        for (std::size_t i = caller; i < jobs.size(); i += 4) answers[i] = run(*engine, jobs[i]);
      });
    }
    for (std::thread& caller : callers) caller.join();
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      ASSERT_NO_FATAL_FAILURE(expect_same(answers[i], expected[i]));
    }
  }
}

}  // namespace
}  // namespace mlxd::testing
