#include <algorithm>
#include <limits>
#include <new>
#include <random>
#include <stdexcept>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_fixture.h"

namespace mlxd::testing {
namespace {

using Outcome = RequestFinished::Outcome;

constexpr int kPoison = 63;

// Throws whenever the token is in the batch.
std::function<void(const Batch&, std::uint64_t)> poisoned_by(int token, bool out_of_memory) {
  return [=](const Batch& batch, std::uint64_t) {
    if (std::ranges::count(batch.tokens, token) == 0) return;
    if (out_of_memory) throw std::bad_alloc();
    throw std::runtime_error("poison");
  };
}

// Nobody draws the poison, so it is where a test puts it.
GenerateJob healthy_job(int i) {
  std::vector<int> prompt;
  for (int j = 0; j < 5 + 3 * i; ++j) prompt.push_back((i * 11 + j * 5) % 60);
  GenerateJob job = job_of(prompt, 20 + i, i);
  job.sampling.logit_bias = {{kPoison, -100}};
  job.samples = 1 + i % 3;
  return job;
}

class Faults : public InEveryCombination {};
INSTANTIATE_IN_EVERY_COMBINATION(Faults);

TEST_P(Faults, FailingRequestsHurtNoOtherAtAnyStage) {
  constexpr int kHealthy = 8;
  std::vector<Answer> expected;
  for (int i = 0; i < kHealthy; ++i) expected.push_back(run_alone(healthy_job(i)));
  std::mt19937 random(1);
  const auto one_of = [&random](int count) { return static_cast<int>(random() % count); };
  for (int trial = 0; trial < 160 / kSlowness; ++trial) {
    SCOPED_TRACE(trial);
    // The poison at the start, within and at the end of a prompt, or drawn as the n-th token.
    const int stage = trial % 8;
    FakeOptions fake;
    fake.before_step = poisoned_by(kPoison, one_of(2) == 1);
    const int drawn_after = stage < 3 ? -1 : 40 + 4 * (stage - 3);
    fake.edit_logits = certain_next_token([drawn_after](std::span<const int> history) {
      const bool is_it = history[0] == 61;  // begins like no other
      return is_it && static_cast<int>(history.size()) == drawn_after ? kPoison : -1;
    });
    EngineOptions options{.max_step_tokens = 8 << one_of(4)};
    if (one_of(2) == 1) options.kv_blocks = 40;  // some are preempted
    auto engine = make_engine(options, fake);
    std::vector<int> prompt(40, 61);
    if (stage == 0) prompt[0] = kPoison;
    if (stage == 1) prompt[20] = kPoison;
    if (stage == 2) prompt[39] = kPoison;
    GenerateJob guilty_job = job_of(prompt, 100);
    guilty_job.samples = 1 + one_of(2);
    const int before = one_of(kHealthy + 1);
    std::vector<RequestHandle> handles;
    for (int i = 0; i < before; ++i) handles.push_back(*engine->submit(healthy_job(i)));
    auto guilty = engine->submit(guilty_job);
    for (int i = before; i < kHealthy; ++i) handles.push_back(*engine->submit(healthy_job(i)));
    const Answer failed = read_all(*guilty);
    ASSERT_EQ(failed.terminals.size(), 1u);
    ASSERT_EQ(failed.terminals[0].outcome, Outcome::error);
    ASSERT_EQ(failed.terminals[0].error.status, 500);
    ASSERT_EQ(failed.error_code(), "internal_error");
    for (int i = 0; i < kHealthy; ++i) {
      const Answer answer = read_all(handles[i]);
      ASSERT_TRUE(answer.completed()) << "request " << i;
      ASSERT_EQ(answer.tokens, expected[i].tokens) << "request " << i;
    }
    ASSERT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }));
    ASSERT_TRUE(engine->stats().healthy);
  }
}

// A device that fails once, in the middle of a batch, whatever step it is.
TEST_P(Faults, AStepThatFailsOnceIsRepeatedAndNobodyNotices) {
  std::vector<GenerateJob> jobs;
  std::vector<Answer> expected;
  for (int i = 0; i < 6; ++i) jobs.push_back(healthy_job(i));
  for (const GenerateJob& job : jobs) expected.push_back(run_alone(job));
  for (std::uint64_t bad_step = 0; bad_step < 30; bad_step += 1) {
    FakeOptions fake;
    // Alone in a step, a request is guilty: then the fault waits for company.
    fake.before_step = [bad_step, done = false](const Batch& batch, std::uint64_t step) mutable {
      if (done || step < bad_step || batch.sequences.size() < 2) return;
      done = true;
      if (bad_step % 2 == 0) throw std::bad_alloc();
      throw std::runtime_error("once");
    };
    auto engine = make_engine({.kv_blocks = 40}, fake);
    std::vector<RequestHandle> handles;
    for (const GenerateJob& job : jobs) handles.push_back(*engine->submit(job));
    for (std::size_t i = 0; i < handles.size(); ++i) {
      const Answer answer = read_all(handles[i]);
      ASSERT_TRUE(answer.completed()) << "step " << bad_step;
      EXPECT_EQ(answer.tokens, expected[i].tokens) << "step " << bad_step;
    }
  }
}

TEST_P(Faults, WhenEveryStepFailsTheEngineIsUnhealthyUntilOneWorks) {
  auto failing = std::make_shared<std::atomic<bool>>(true);
  auto steps = std::make_shared<std::atomic<int>>(0);
  FakeOptions fake;
  fake.before_step = [=](const Batch&, std::uint64_t) {
    ++*steps;
    if (*failing) throw std::bad_alloc();
  };
  auto engine = make_engine({}, fake);
  std::vector<RequestHandle> handles;
  for (int i = 0; i < 10; ++i) handles.push_back(*engine->submit(healthy_job(i)));
  for (RequestHandle& handle : handles) EXPECT_EQ(read_all(handle).error_code(), "internal_error");
  EXPECT_LE(*steps, 30) << "no failure is tried again and again";
  EXPECT_FALSE(engine->stats().healthy);
  const auto refused = engine->submit(healthy_job(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 503);
  EXPECT_EQ(refused.error().code, "engine_unhealthy");
  EXPECT_GT(refused.error().retry_after_seconds, 0);
  *failing = false;
  EXPECT_TRUE(eventually([&] { return engine->stats().healthy; })) << "it tries by itself";
  auto after = engine->submit(healthy_job(1));
  EXPECT_TRUE(read_all(*after).completed());
}

TEST_P(Faults, ExceptionsThatAreNoStdExceptionsAreCaughtToo) {
  FakeOptions fake;
  fake.before_step = [](const Batch&, std::uint64_t) { throw 42; };
  EXPECT_EQ(run_alone(job_of({1}, 5), fake).error_code(), "internal_error");
}

TEST_P(Faults, LogitsThatAreNotFiniteFailTheirRequestAlone) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    FakeOptions fake;
    fake.edit_logits = [bad](std::span<const int> history, std::span<float> logits) {
      if (history[0] == 61 && history.size() > 8) logits[17] = bad;
    };
    auto engine = make_engine({}, fake);
    auto healthy = engine->submit(healthy_job(3));
    auto guilty = engine->submit(job_of({61, 1, 2}, 50));
    EXPECT_EQ(read_all(*guilty).error_code(), "internal_error");
    EXPECT_EQ(read_all(*healthy).tokens, run_alone(healthy_job(3)).tokens);
  }
}

TEST_P(Faults, ARunnerThatReturnsTooFewLogitsFailsTheRequestNotTheProcess) {
  class Short : public FakeRunner {
   public:
    using FakeRunner::FakeRunner;
    void wait(StepOutput& output) override {
      FakeRunner::wait(output);
      output.logits.pop_back();
    }
  };
  Engine engine({}, [] { return std::make_unique<Short>(FakeOptions{}); });
  auto handle = engine.submit(job_of({1}, 5));
  EXPECT_EQ(read_all(*handle).error_code(), "internal_error");
}

class HangTest : public InEveryCombination {
 protected:
  void SetUp() override {
    InEveryCombination::SetUp();
    FakeOptions fake;
    fake.before_step = [state = state_](const Batch&, std::uint64_t step) {
      if (step != 5) return;
      state->hanging = true;
      while (!state->released) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    engine_ = make_engine({.max_running_sequences = 2, .hang_seconds = 0.2}, fake);
  }
  void TearDown() override {
    state_->released = true;
    InEveryCombination::TearDown();
  }

  struct State {
    std::atomic<bool> hanging{false}, released{false};
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
  std::unique_ptr<Engine> engine_;
};

INSTANTIATE_IN_EVERY_COMBINATION(HangTest);

TEST_P(HangTest, EndsAllRequestsAndRefusesNewOnesWhileTheStepHangs) {
  std::vector<RequestHandle> handles;
  for (int i = 0; i < 4; ++i) handles.push_back(*engine_->submit(job_of({1, 2}, 100)));
  for (RequestHandle& handle : handles) {
    const Answer answer = read_all(handle);
    ASSERT_EQ(answer.terminals.size(), 1u);
    EXPECT_EQ(answer.error_code(), "engine_hung");
  }
  EXPECT_FALSE(engine_->stats().healthy);
  EXPECT_GT(engine_->stats().heartbeat_age_seconds, 0.2);
  const auto refused = engine_->submit(job_of({1}, 1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 503);
  EXPECT_EQ(refused.error().code, "engine_unhealthy");
  state_->released = true;
  EXPECT_TRUE(eventually([&] { return engine_->stats().healthy; }));
  EXPECT_TRUE(eventually([&] { return engine_->stats().kv_blocks_used == 0; }));
  for (RequestHandle& handle : handles)
    EXPECT_FALSE(handle.try_next()) << "nothing follows the end";
  auto after = engine_->submit(job_of({1}, 3));
  ASSERT_TRUE(after);
  EXPECT_TRUE(read_all(*after).completed());
  EXPECT_EQ(engine_->stats().hangs, 1u) << "a supervisor is still told of it";
}

TEST_P(HangTest, AReaderMayLeaveWhileTheStepHangs) {
  auto handle = engine_->submit(job_of({1, 2}, 100));
  ASSERT_TRUE(eventually([&] { return state_->hanging.load(); }));
  { RequestHandle gone = *std::move(handle); }
  state_->released = true;
  EXPECT_TRUE(eventually([&] { return engine_->stats().live_requests == 0; }));
}

TEST_P(Faults, AnEngineWhoseThreadDiesEndsItsRequestsAndSaysSo) {
  // An observer must not throw; this one shows what happens when the thread is lost all the same.
  struct Deadly : EngineObserver {
    void on_step(double, int, int) override { throw std::runtime_error("lost"); }
  } observer;
  auto engine = make_engine({}, {}, &observer);
  auto handle = engine->submit(job_of({1, 2}, 100));
  const Answer answer = read_all(*handle);
  EXPECT_EQ(answer.error_code(), "engine_dead");
  EXPECT_EQ(answer.terminals.size(), 1u);
  EXPECT_FALSE(engine->stats().healthy);
  const auto refused = engine->submit(job_of({1}, 1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 503);
}

}  // namespace
}  // namespace mlxd::testing
