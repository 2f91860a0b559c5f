#include "engine/engine.h"

#include <algorithm>
#include <atomic>

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/engine_fixture.h"

namespace mlxd::testing {
namespace {

using Outcome = RequestFinished::Outcome;

FakeOptions counting_model() {
  FakeOptions fake;
  fake.edit_logits =
      certain_next_token([](std::span<const int> history) { return (history.back() + 1) % 64; });
  return fake;
}

class EngineTest : public InEveryCombination {};
INSTANTIATE_IN_EVERY_COMBINATION(EngineTest);

TEST_P(EngineTest, DeliversMaxTokensThenOneTerminalEvent) {
  auto engine = make_engine();
  auto handle = engine->submit(job_of({1, 2, 3}, 10));
  ASSERT_TRUE(handle);
  const Answer answer = read_all(*handle);
  EXPECT_TRUE(answer.completed());
  ASSERT_EQ(answer.tokens.size(), 1u);
  EXPECT_EQ(answer.tokens[0].size(), 10u);
  ASSERT_EQ(answer.finished.size(), 1u);
  EXPECT_EQ(answer.finished[0].reason, FinishReason::length);
  EXPECT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }));
  EXPECT_EQ(engine->stats().live_requests, 0);
}

TEST_P(EngineTest, EndsAtAStopTokenAndDoesNotDeliverIt) {
  GenerateJob job = job_of({1}, 50);
  job.stop_ids = {40, 6};
  const Answer answer = run_alone(job, counting_model());
  EXPECT_EQ(answer.tokens[0], (std::vector<int>{2, 3, 4, 5}));
  EXPECT_EQ(answer.finished[0].reason, FinishReason::stop);
  EXPECT_TRUE(answer.completed());
}

TEST_P(EngineTest, IgnoreEosDeliversStopTokensLikeOthers) {
  GenerateJob job = job_of({1}, 7);
  job.stop_ids = {4};
  job.ignore_eos = true;
  const Answer answer = run_alone(job, counting_model());
  EXPECT_EQ(answer.tokens[0], (std::vector<int>{2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(answer.finished[0].reason, FinishReason::length);
}

TEST_P(EngineTest, MinTokensKeepsStopTokensFromBeingDrawn) {
  FakeOptions fake;
  fake.edit_logits = certain_next_token([](std::span<const int>) { return 9; });
  GenerateJob job = job_of({1}, 20);
  job.stop_ids = {9};
  job.min_tokens = 5;
  const Answer answer = run_alone(job, fake);
  EXPECT_EQ(answer.tokens[0].size(), 5u);
  EXPECT_EQ(std::ranges::count(answer.tokens[0], 9), 0);
  EXPECT_EQ(answer.finished[0].reason, FinishReason::stop);
}

TEST_P(EngineTest, EachSampleHasItsOwnRandomStreamAndTheFirstIsThatOfASingleSample) {
  GenerateJob job = job_of({1, 2, 3, 4, 5, 6}, 12);
  const Answer alone = run_alone(job);
  job.samples = 4;
  const Answer answer = run_alone(job);
  EXPECT_TRUE(answer.completed());
  ASSERT_EQ(answer.tokens.size(), 4u);
  EXPECT_EQ(answer.finished.size(), 4u);
  EXPECT_EQ(answer.tokens[0], alone.tokens[0]);
  for (int i = 1; i < 4; ++i) {
    EXPECT_EQ(answer.tokens[i].size(), 12u);
    EXPECT_NE(answer.tokens[i], answer.tokens[0]);
  }
}

TEST_P(EngineTest, SamplesComputeTheirPromptOnce) {
  auto engine = make_engine();
  GenerateJob job = job_of(std::vector<int>(40, 3), 5);
  std::atomic<int> rows{0};
  FakeOptions fake;
  fake.before_step = [&rows](const Batch& batch, std::uint64_t) { rows += batch.rows(); };
  job.samples = 4;
  EXPECT_TRUE(run_alone(job, fake).completed());
  EXPECT_EQ(rows, 40 + 4 * 4) << "the last token of each is not fed back";
}

TEST_P(EngineTest, AStoppedSampleEndsAndTheOthersGoOn) {
  GenerateJob job = job_of({1, 2}, 2000);
  job.samples = 2;
  auto engine = make_engine();
  auto handle = engine->submit(job);
  ASSERT_TRUE(handle);
  Answer answer;
  while (answer.details.size() < 20) take(answer, *handle->next_until(in_seconds(60)));
  handle->stop_sample(0);
  while (answer.terminals.empty()) {
    auto event = handle->next_until(in_seconds(60));
    ASSERT_TRUE(event);
    take(answer, *std::move(event));
  }
  EXPECT_TRUE(answer.completed());
  EXPECT_LT(answer.tokens[0].size(), 2000u);
  EXPECT_EQ(answer.tokens[1].size(), 2000u);
}

TEST_P(EngineTest, ARequestWhoseSamplesAreAllStoppedIsCompleted) {
  auto engine = make_engine();
  auto handle = engine->submit(job_of({1, 2}, 4000));
  ASSERT_TRUE(handle);
  ASSERT_TRUE(handle->next_until(in_seconds(60)));
  handle->stop_sample(0);
  EXPECT_TRUE(read_all(*handle).completed());
}

TEST_P(EngineTest, PromptLogprobsComeInOrderBeforeTheFirstTokenHoweverThePromptIsCut) {
  std::vector<int> prompt;
  for (int i = 0; i < 100; ++i) prompt.push_back(i * 7 % 64);
  GenerateJob job = job_of(prompt, 3);
  job.prompt_logprobs = 2;
  const Answer whole = run_alone(job);
  ASSERT_EQ(whole.prompt.size(), 100u);
  EXPECT_FALSE(whole.prompt[0].has_logprob);
  for (int i = 1; i < 100; ++i) {
    EXPECT_EQ(whole.prompt[i].token, prompt[i]);
    EXPECT_TRUE(whole.prompt[i].has_logprob);
    EXPECT_LT(whole.prompt[i].logprob, 0);
    EXPECT_EQ(whole.prompt[i].top.size(), 2u);
    EXPECT_GE(whole.prompt[i].top[0].logprob, whole.prompt[i].logprob);
  }
  EXPECT_EQ(whole.tokens[0].size(), 3u);
  EngineOptions options;
  options.channel_capacity = 5;
  options.max_running_sequences = 1;
  options.max_step_tokens = 7;
  auto engine = make_engine(options);
  auto handle = engine->submit(job);
  const Answer cut = read_all(*handle);
  ASSERT_EQ(cut.prompt.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(cut.prompt[i].logprob, whole.prompt[i].logprob);
  EXPECT_EQ(cut.tokens, whole.tokens);
}

TEST_P(EngineTest, MaxTokensZeroGivesPromptLogprobsAlone) {
  for (const int length : {1, 2, 30}) {
    GenerateJob job = job_of(std::vector<int>(length, 5), 0);
    job.prompt_logprobs = 0;
    job.samples = 2;
    const Answer answer = run_alone(job);
    EXPECT_TRUE(answer.completed());
    EXPECT_EQ(answer.prompt.size(), static_cast<std::size_t>(length));
    EXPECT_TRUE(answer.tokens.empty());
    ASSERT_EQ(answer.finished.size(), 2u);
    EXPECT_EQ(answer.finished[1].reason, FinishReason::length);
  }
}

TEST_P(EngineTest, MaxTokensZeroWithoutLogprobsIsAnsweredWithoutAStep) {
  auto engine = make_engine();
  auto handle = engine->submit(job_of({1, 2, 3}, 0));
  const Answer answer = read_all(*handle);
  EXPECT_TRUE(answer.completed());
  ASSERT_EQ(answer.finished.size(), 1u);
  EXPECT_EQ(answer.finished[0].reason, FinishReason::length);
  EXPECT_EQ(engine->stats().steps, 0u);
}

TEST_P(EngineTest, TokenLogprobsAreDeliveredWhenAskedFor) {
  GenerateJob job = job_of({1}, 5);
  job.sampling.logprobs = true;
  job.sampling.top_logprobs = 3;
  const Answer answer = run_alone(job);
  for (const SampledToken& token : answer.details) {
    EXPECT_LT(token.logprob, 0);
    EXPECT_EQ(token.top.size(), 3u);
  }
}

TEST_P(EngineTest, CancelEndsTheRequestAndFreesItsBlocks) {
  auto engine = make_engine();
  auto handle = engine->submit(job_of({1, 2, 3}, 4000));
  ASSERT_TRUE(handle->next_until(in_seconds(60)));
  handle->cancel();
  const Answer answer = read_all(*handle);
  ASSERT_EQ(answer.terminals.size(), 1u);
  EXPECT_EQ(answer.terminals[0].outcome, Outcome::cancelled);
  EXPECT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }))
      << "free before the reader knows";
}

TEST_P(EngineTest, CancelFreesTheBlocksWhenTheStepThatRunsIsOver) {
  for (std::uint64_t step = 0; step < 20; ++step) {
    std::atomic<bool> running{false}, open{false};
    FakeOptions fake;
    fake.before_step = [&](const Batch&, std::uint64_t now) {
      if (now != step) return;
      running = true;
      while (!open) std::this_thread::sleep_for(std::chrono::microseconds(100));
    };
    auto engine = make_engine({.max_step_tokens = 4, .target_step_seconds = 60}, fake);
    auto handle = engine->submit(job_of(std::vector<int>(30, 1), 4000));
    ASSERT_TRUE(eventually([&] { return running.load(); }));
    handle->cancel();
    open = true;
    EXPECT_EQ(read_all(*handle).terminals.at(0).outcome, Outcome::cancelled);
    EXPECT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }));
    EXPECT_EQ(engine->stats().steps, step + 1) << "none was begun for nobody";
  }
}

TEST_P(EngineTest, LettingGoOfTheHandleCancels) {
  auto engine = make_engine();
  { auto handle = engine->submit(job_of({1, 2, 3}, 4000)); }
  EXPECT_TRUE(eventually([&] { return engine->stats().live_requests == 0; }));
  EXPECT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }));
}

TEST_P(EngineTest, AHandleMayOutliveItsEngine) {
  auto engine = make_engine({.channel_capacity = 2});
  auto handle = engine->submit(job_of({1, 2, 3}, 4000));
  ASSERT_TRUE(handle->next_until(in_seconds(60)));
  engine.reset();
  const Answer answer = read_all(*handle);
  EXPECT_EQ(answer.error_code(), "shutting_down");
  EXPECT_EQ(answer.terminals.size(), 1u);
  handle->cancel();
}

TEST_P(EngineTest, DeadlinesHoldWhileRunningAndWhileQueued) {
  FakeOptions slow;
  slow.before_step = [](const Batch&, std::uint64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  auto engine = make_engine({.max_running_sequences = 1}, slow);
  GenerateJob job = job_of({1}, 4000);
  job.deadline = in_seconds(0.1);
  auto running = engine->submit(job);
  job.deadline = in_seconds(0.05);
  auto queued = engine->submit(job);
  const Answer first = read_all(*running);
  const Answer second = read_all(*queued);
  EXPECT_EQ(first.terminals.at(0).outcome, Outcome::timeout);
  EXPECT_EQ(first.error_code(), "timeout");
  EXPECT_EQ(second.terminals.at(0).outcome, Outcome::timeout);
  EXPECT_TRUE(second.tokens.empty());
}

TEST_P(EngineTest, WhileDrainingItAcceptsNothingAndFinishesWhatItHas) {
  auto engine = make_engine();
  auto handle = engine->submit(job_of({1}, 500));
  engine->drain();
  const auto refused = engine->submit(job_of({1}, 5));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 503);
  const Answer answer = read_all(*handle);
  EXPECT_TRUE(answer.completed());
  EXPECT_EQ(answer.tokens[0].size(), 500u);
}

TEST_P(EngineTest, AbortEndsEveryRequestWithTheGivenError) {
  auto engine = make_engine({.max_running_sequences = 2});
  std::vector<RequestHandle> handles;
  for (int i = 0; i < 6; ++i) handles.push_back(*engine->submit(job_of({1}, 4000)));
  ASSERT_TRUE(handles[0].next_until(in_seconds(60)));
  engine->abort_all({503, "stopping", "", "over"});
  for (RequestHandle& handle : handles) {
    const Answer answer = read_all(handle);
    EXPECT_EQ(answer.error_code(), "stopping");
    EXPECT_EQ(answer.terminals.size(), 1u);
  }
  EXPECT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }));
}

TEST_P(EngineTest, RefusesWhatItCouldNeverCompute) {
  FakeOptions fake;
  fake.context_length = 100;
  auto engine = make_engine({.kv_blocks = 10}, fake);
  const auto refusal = [&](GenerateJob job) {
    const auto result = engine->submit(std::move(job));
    return result ? Error{} : result.error();
  };
  EXPECT_EQ(refusal(job_of(std::vector<int>(90, 1), 11)).code, "context_length_exceeded");
  const Error too_long = refusal(job_of(std::vector<int>(30, 1), 12));
  EXPECT_EQ(too_long.code, "kv_cache_exceeded");
  EXPECT_NE(too_long.message.find("11 KV blocks"), std::string::npos) << too_long.message;
  EXPECT_NE(too_long.message.find("has 10"), std::string::npos) << too_long.message;
  EXPECT_EQ(refusal(job_of({}, 5)).param, "prompt");
  for (const int priority : {-1, 10}) {
    GenerateJob job = job_of({1}, 5);
    job.priority = priority;
    EXPECT_EQ(refusal(job).param, "priority");
  }
  EXPECT_EQ(refusal(job_of({64}, 5)).param, "prompt");
  EXPECT_EQ(refusal(job_of({-1}, 5)).param, "prompt");
  GenerateJob job = job_of({1}, 5);
  job.samples = 65;
  EXPECT_EQ(refusal(job).param, "n");
  job.samples = 1;
  job.sampling.logit_bias = {{64, 1}};
  EXPECT_EQ(refusal(job).param, "logit_bias");
  auto fits = engine->submit(job_of(std::vector<int>(30, 1), 11));
  ASSERT_TRUE(fits);
  EXPECT_TRUE(read_all(*fits).completed());
}

TEST_P(EngineTest, RethrowsWhatKeptTheRunnerFromBeingMade) {
  EXPECT_THROW(
      Engine({}, []() -> std::unique_ptr<ModelRunner> { throw LoadError("no such file"); }),
      LoadError);
  EXPECT_THROW(make_engine({.kv_bytes = 100}), StartupError);
}

TEST_P(EngineTest, MakesUsesAndDestroysTheRunnerOnOneThread) {
  struct Threads {
    std::thread::id made, stepped, destroyed;
  } threads;
  class Witness : public FakeRunner {
   public:
    Witness(FakeOptions options, Threads& threads) : FakeRunner(options), threads_(threads) {
      threads_.made = std::this_thread::get_id();
    }
    ~Witness() override { threads_.destroyed = std::this_thread::get_id(); }

   private:
    Threads& threads_;
  };
  FakeOptions fake;
  fake.before_step = [&](const Batch&, std::uint64_t) {
    threads.stepped = std::this_thread::get_id();
  };
  {
    Engine engine({}, [&] { return std::make_unique<Witness>(fake, threads); });
    auto handle = engine.submit(job_of({1}, 3));
    EXPECT_TRUE(read_all(*handle).completed());
  }
  EXPECT_NE(threads.made, std::this_thread::get_id());
  EXPECT_EQ(threads.made, threads.stepped);
  EXPECT_EQ(threads.made, threads.destroyed);
}

TEST_P(EngineTest, ASlowReaderHoldsABoundedBufferAndLosesNothing) {
  auto engine = make_engine({.channel_capacity = 4});
  auto handle = engine->submit(job_of({1, 2}, 300));
  EXPECT_TRUE(eventually([&] { return engine->stats().paused_sequences == 1; }));
  const auto steps = engine->stats().steps;
  EXPECT_EQ(engine->stats().generated_tokens, 4u);
  auto other = engine->submit(job_of({5}, 50));
  EXPECT_TRUE(read_all(*other).completed()) << "others go on";
  EXPECT_GT(engine->stats().steps, steps);
  const Answer answer = read_all(*handle);
  EXPECT_EQ(answer.tokens, run_alone(job_of({1, 2}, 300)).tokens);
}

TEST_P(EngineTest, WakesTheReaderOnceForEachTimeItsChannelFills) {
  std::atomic<int> wakes{0};
  auto engine = make_engine({.channel_capacity = 10});
  auto handle = engine->submit(job_of({1}, 100), [&wakes] { ++wakes; });
  EXPECT_TRUE(eventually([&] { return engine->stats().paused_sequences == 1; }));
  EXPECT_EQ(wakes, 1);
  EXPECT_TRUE(read_all(*handle).completed());
}

TEST_P(EngineTest, SleepsWhenThereIsNothingToCompute) {
  auto engine = make_engine({.channel_capacity = 4});
  auto paused = engine->submit(job_of({1}, 100));
  ASSERT_TRUE(eventually([&] { return engine->stats().paused_sequences == 1; }));
  // Asleep no heartbeat is owed, and a thread that woke again would show one.
  ASSERT_TRUE(eventually([&] { return engine->stats().heartbeat_age_seconds == 0; }));
  const auto steps = engine->stats().steps;
  for (int i = 0; i < 100; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ASSERT_EQ(engine->stats().heartbeat_age_seconds, 0);
  }
  EXPECT_EQ(engine->stats().steps, steps);
}

TEST_P(EngineTest, TellsItsObserverOfEachStep) {
  struct Observer : EngineObserver {
    void on_step(double seconds, int rows, int sequences) override {
      EXPECT_GE(seconds, 0);
      EXPECT_GE(rows, sequences);
      ++steps;
      total_rows += rows;
    }
    std::atomic<int> steps{0}, total_rows{0};
  } observer;
  {
    auto engine = make_engine({}, {}, &observer);
    auto handle = engine->submit(job_of({1, 2, 3}, 4));
    EXPECT_TRUE(read_all(*handle).completed());
  }
  EXPECT_EQ(observer.steps, 4);
  EXPECT_EQ(observer.total_rows, 3 + 3);
}

}  // namespace
}  // namespace mlxd::testing
