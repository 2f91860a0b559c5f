// Memory that runs out on the inference thread, at each place where it allocates.
#include <algorithm>
#include <atomic>
#include <new>
#include <system_error>
#include <thread>

#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

#include "base/scarce_memory.h"
#include "base/scarce_threads.h"
#include "engine/engine_fixture.h"
#include "prefix_store/temporary_folder.h"

namespace mlxd::testing {
namespace {

// Few requests that make the engine do all it can: prefixes that are shared, drafts that come true,
// samples, penalties, log-probabilities, priorities, and too few blocks for all.
std::vector<GenerateJob> workload() {
  const std::vector<int> song{1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4};
  std::vector<GenerateJob> jobs;
  jobs.push_back(job_of(song, 20));
  jobs.push_back(job_of({9, 8, 7}, 6, 2));
  jobs.back().samples = 3;
  jobs.back().sampling.presence_penalty = 1;
  jobs.push_back(job_of({20, 21, 22, 23, 24, 25}, 3, 3));
  jobs.back().prompt_logprobs = 2;
  jobs.back().sampling.logprobs = true;
  jobs.back().sampling.top_logprobs = 2;
  jobs.push_back(job_of({30, 31}, 0));
  jobs.push_back(job_of(song, 4, 5));
  jobs.push_back(job_of({40, 41, 42, 43, 44, 45, 46}, 5, 6));
  jobs.back().priority = 5;
  jobs.back().caller = 2;
  return jobs;
}

class ScarceMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    usual_log_ = spdlog::default_logger();
    spdlog::set_default_logger(spdlog::null_logger_mt("scarce memory"));
  }
  void TearDown() override {
    combination() = &kUsual;
    spdlog::set_default_logger(usual_log_);
    spdlog::drop("scarce memory");
  }

  // A first request, then all jobs at once, which arrive while its first step waits, and one when
  // all is over. Memory is scarce on the inference thread from that step on.
  std::vector<Answer> run(long works, long fails) {
    std::atomic<bool> open{false};
    FakeOptions fake;
    fake.kv = groups_;
    fake.before_step = [&](const Batch&, std::uint64_t step) {
      if (step != 0) return;
      while (!open) std::this_thread::sleep_for(std::chrono::microseconds(100));
      make_memory_scarce(works, fails);
    };
    // Those of one song sing on, the others say what comes to their mind.
    fake.edit_logits = certain_next_token(
        [](std::span<const int> history) { return history[0] == 1 ? history.back() % 5 + 1 : -1; });
    auto engine = make_engine(options_, fake);
    auto first = engine->submit(job_of({50}, 2));
    EXPECT_TRUE(eventually([&] { return engine->stats().queued_requests == 0; }));
    std::vector<RequestHandle> handles;
    for (const GenerateJob& job : workload()) handles.push_back(*engine->submit(job));
    open = true;
    std::vector<Answer> answers{read_all(*first)};
    for (RequestHandle& handle : handles) answers.push_back(read_all(handle));
    // Where step after step failed, it takes no more until one works.
    EXPECT_TRUE(eventually([&] { return engine->stats().healthy; }));
    auto last = engine->submit(workload()[0]);
    answers.push_back(read_all(*last));
    EXPECT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }));
    stats_ = engine->stats();
    EXPECT_TRUE(stats_.healthy);
    EXPECT_EQ(stats_.live_requests, 0);
    EXPECT_EQ(stats_.queued_requests, 0);
    EXPECT_EQ(stats_.queued_tokens, 0);
    EXPECT_EQ(stats_.kv_blocks_used, 0);
    return answers;
  }

  // How many of the answers are errors, once all are what they may be.
  int failures_among(const std::vector<Answer>& answers, const std::vector<Answer>& expected) {
    int failures = 0;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      EXPECT_EQ(answers[i].terminals.size(), 1u) << "request " << i;
      if (answers[i].completed()) {
        EXPECT_EQ(answers[i].tokens, expected[i].tokens) << "request " << i;
        EXPECT_EQ(answers[i].prompt.size(), expected[i].prompt.size()) << "request " << i;
      } else {
        EXPECT_EQ(answers[i].error_code(), "internal_error") << "request " << i;
        ++failures;
      }
    }
    return failures;
  }

  void fail_each_allocation_in_turn() {
    const std::vector<Answer> expected = run(0, 0);
    ASSERT_EQ(failures_among(expected, expected), 0);
    EXPECT_GT(stats_.preemptions, 0u);
    EXPECT_GT(stats_.accepted_tokens, 0u);
    EXPECT_GT(stats_.cached_prompt_tokens, 0u);
    int places = 0;
    int without_cost = 0;
    for (;; ++places) {
      SCOPED_TRACE(places);
      const int failures = failures_among(run(places, 1), expected);
      ASSERT_LE(failures, 1);
      if (HasFailure()) return;
      if (allocations_that_failed() == 0) break;
      without_cost += failures == 0;
    }
    EXPECT_GT(places, 200);
    EXPECT_GT(without_cost, places / 3) << "many are made for no one request";
    RecordProperty("places", places);
  }

  TemporaryFolder folder_;
  std::vector<KvGroup> groups_{{.block_bytes = 1024}};
  EngineOptions options_{.max_running_sequences = 6, .max_step_tokens = 12, .kv_blocks = 10};
  EngineStats stats_;
  std::shared_ptr<spdlog::logger> usual_log_;
};

TEST_F(ScarceMemory, AnAllocationThatFailsCostsOneRequestAtMost) { fail_each_allocation_in_turn(); }

TEST_F(ScarceMemory, AnAllocationThatFailsCostsOneRequestAtMostWithTheCacheOnDisk) {
  options_.prefix_disk.directory = folder_.path();
  fail_each_allocation_in_turn();
}

TEST_F(ScarceMemory, AnAllocationThatFailsCostsOneRequestAtMostAStepAheadWithStates) {
  combination() = &kAheadStates;
  options_.prefix_disk.directory = folder_.path();
  fail_each_allocation_in_turn();
}

TEST_F(ScarceMemory, AnAllocationThatFailsCostsOneRequestAtMostWhereStatesAreSavedInPlace) {
  combination() = &kScarceStates;
  fail_each_allocation_in_turn();
}

TEST_F(ScarceMemory, AnAllocationThatFailsCostsOneRequestAtMostInAModelWithWindows) {
  groups_ = {{.block_bytes = 64, .window = 3}, {.block_bytes = 1024}};
  options_.kv_blocks = 0;
  options_.kv_bytes = 12'800;  // 39 blocks for windows, and 10
  options_.prefix_disk.directory = folder_.path();
  fail_each_allocation_in_turn();
}

TEST_F(ScarceMemory, WhileThereIsNoneRequestsEndOneByOneAndTheThreadLivesOn) {
  const std::vector<Answer> expected = run(0, 0);
  int most_failures = 0;
  for (const long fails : {2, 10, 50, 200}) {
    for (const long works : {0, 10, 16, 22, 28, 40, 160, 640}) {
      SCOPED_TRACE(std::to_string(works) + " then " + std::to_string(fails));
      most_failures = std::max(most_failures, failures_among(run(works, fails), expected));
      if (HasFailure()) return;
    }
  }
  // All but the last, which came later. The one that needs no step is among them only where memory
  // runs out between the first request's end and the others' arrival.
  EXPECT_EQ(most_failures, static_cast<int>(expected.size()) - 1);
}

// Its thread has no memory from the first hang on.
TEST_F(ScarceMemory, TheWatchdogEndsRequestsWithoutAny) {
  std::atomic<bool> held{true};
  std::atomic<std::uint64_t> steps{0};
  FakeOptions fake;
  fake.before_step = [&](const Batch&, std::uint64_t) {
    ++steps;
    held.wait(true);
  };
  options_.hang_seconds = 0.05;
  auto engine = make_engine(options_, fake);
  for (int hang = 0; hang < 2; ++hang) {
    held = true;
    std::vector<RequestHandle> handles;
    const std::uint64_t before = steps;
    for (int i = 0; i < 4; ++i) {
      handles.push_back(*engine->submit(job_of({1, 2, 3 + i}, 5), [] { make_memory_scarce(0); }));
    }
    for (RequestHandle& handle : handles) {
      const Answer answer = read_all(handle);
      EXPECT_EQ(answer.terminals.size(), 1u);
      EXPECT_EQ(answer.error_code(), "engine_hung");
    }
    EXPECT_GT(steps, before);
    held = false;
    held.notify_all();
    EXPECT_TRUE(eventually([&] { return engine->stats().healthy; }));
  }
  EXPECT_EQ(engine->stats().hangs, 2u);
}

#if defined(__linux__)
TEST_F(ScarceMemory, AThreadThatTheSystemDoesNotGiveCostsTheStartOrTheCacheOnDisk) {
  options_.prefix_disk.directory = folder_.path();
  // The inference thread, the one that writes the cache, the watchdog.
  make_threads_scarce(0, 1);
  EXPECT_THROW(make_engine(options_), std::system_error);
  make_threads_scarce(1, 1);
  auto engine = make_engine(options_);
  auto handle = engine->submit(job_of({1, 2, 3}, 5));
  EXPECT_TRUE(read_all(*handle).completed());
  engine.reset();
  make_threads_scarce(2, 1);
  EXPECT_THROW(make_engine(options_), std::system_error);
  make_threads_plentiful();
}
#endif

TEST_F(ScarceMemory, ARequestThatCouldNotBeSubmittedLeavesNothingBehind) {
  auto engine = make_engine();
  for (long works = 0;; ++works) {
    GenerateJob job = job_of({1, 2, 3}, 5);
    make_memory_scarce(works, 1);
    bool accepted = false;
    try {
      auto handle = engine->submit(std::move(job));
      make_memory_plentiful();
      accepted = read_all(*handle).completed();
    } catch (const std::bad_alloc&) {
    }
    make_memory_plentiful();
    ASSERT_EQ(engine->stats().queued_requests, 0);
    ASSERT_EQ(engine->stats().queued_tokens, 0);
    ASSERT_EQ(engine->stats().live_requests, 0);
    if (allocations_that_failed() == 0) {
      EXPECT_TRUE(accepted);
      EXPECT_GT(works, 2);
      return;
    }
  }
}

}  // namespace
}  // namespace mlxd::testing
