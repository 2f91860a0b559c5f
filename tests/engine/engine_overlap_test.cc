// Steps that are launched while another runs, and the stages at which a step can fail.
#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "engine/engine_fixture.h"

namespace mlxd::testing {
namespace {

class Stages : public InEveryCombination {
 protected:
  void SetUp() override {
    InEveryCombination::SetUp();
    level_ = spdlog::get_level();
    spdlog::set_level(spdlog::level::off);  // thousands of faults
  }
  void TearDown() override {
    spdlog::set_level(level_);
    InEveryCombination::TearDown();
  }

 private:
  spdlog::level::level_enum level_ = spdlog::level::info;
};
INSTANTIATE_IN_EVERY_COMBINATION(Stages);

// Those of even number repeat themselves, so that drafts come true; stop ids, samples, penalties
// and log-probabilities of prompts are among them.
GenerateJob varied_job(int i) {
  std::vector<int> prompt;
  for (int j = 0; j < 4 + 3 * (i % 5); ++j) prompt.push_back(i % 2 == 0 ? j % 4 : (i * 7 + j) % 60);
  GenerateJob job = job_of(prompt, 6 + i % 17, i);
  if (i % 3 == 0) job.samples = 1 + i % 4;
  if (i % 4 == 1) job.stop_ids = {3, 17, 30, 41, 55};
  if (i % 8 == 1) job.min_tokens = 3;
  if (i % 5 == 2) job.sampling.presence_penalty = 0.7f;
  if (i % 6 == 2) job.prompt_logprobs = 1;
  if (i % 7 == 3) job.sampling.logprobs = true;
  return job;
}

FakeOptions repeating() {
  FakeOptions fake;
  fake.edit_logits = certain_next_token([](std::span<const int> history) {
    return history[0] == 0 && history.size() % 11 != 0 ? (history.back() + 1) % 4 : -1;
  });
  return fake;
}

constexpr int kJobs = 40;
constexpr int kPoison = 63;

const std::vector<Answer>& expected_answers() {
  static std::vector<Answer> of_models[2][2];  // without and with states and roles
  std::vector<Answer>& answers =
      of_models[combination()->states != States::none][combination()->roles];
  if (answers.empty()) {
    for (int i = 0; i < kJobs; ++i) answers.push_back(run_alone(varied_job(i), repeating()));
  }
  return answers;
}

void expect_same(const Answer& answer, const Answer& expected) {
  ASSERT_TRUE(answer.completed()) << answer.error_code();
  EXPECT_EQ(answer.tokens, expected.tokens);
  ASSERT_EQ(answer.prompt.size(), expected.prompt.size());
  for (std::size_t i = 0; i < answer.prompt.size(); ++i) {
    EXPECT_EQ(answer.prompt[i].logprob, expected.prompt[i].logprob);
  }
  ASSERT_EQ(answer.details.size(), expected.details.size());
  ASSERT_EQ(answer.finished.size(), expected.finished.size());
}

TEST_P(Stages, AnswersAreTheSameHoweverScarceTheBlocksAre) {
  for (const int blocks : {16, 25, 400}) {
    SCOPED_TRACE(blocks);
    auto engine = make_engine(
        {.max_running_sequences = 9, .max_step_tokens = 24, .kv_blocks = blocks}, repeating());
    std::vector<RequestHandle> handles;
    for (int i = 0; i < kJobs; ++i) handles.push_back(*engine->submit(varied_job(i)));
    for (int i = 0; i < kJobs; ++i) {
      SCOPED_TRACE(i);
      expect_same(read_all(handles[i]), expected_answers()[i]);
    }
    EXPECT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }));
  }
}

// Each stage of each step may fail, and every second fault is the end of the cache's contents. A
// fault is not followed at once by another, or requests would rightly end.
TEST_P(Stages, AFaultAtAnyStageOfAStepCostsNobodyAnything) {
  for (int stage = 0; stage < 3; ++stage) {
    for (const bool lost : {false, true}) {
      if (lost && stage < 2) continue;  // only a step that is waited for loses the cache
      SCOPED_TRACE(std::to_string(stage) + (lost ? ", the cache is lost" : ""));
      FakeOptions fake = repeating();
      struct State {
        std::mt19937 random{7};
        std::uint64_t last = 0;
        int faults = 0;
      };
      auto state = std::make_shared<State>();
      const auto maybe_fail = [state, lost](std::uint64_t step) {
        if (step < state->last + 60 || state->random() % 4 != 0) return;
        state->last = step;
        ++state->faults;
        if (lost) throw CacheLost("the device was reset");
        if (state->random() % 2 == 0) throw std::bad_alloc();
        throw std::runtime_error("a fault");
      };
      // A step of one sequence that fails is that sequence's fault: only others fail at launch.
      auto alone = std::make_shared<bool>(false);
      fake.before_step = [maybe_fail, alone, stage](const Batch& batch, std::uint64_t step) {
        *alone = batch.sequences.size() < 2;
        if (stage == 0 && !*alone) maybe_fail(step);
      };
      if (stage == 1)
        fake.before_draw = [=](std::uint64_t step) {
          if (!*alone) maybe_fail(step);
        };
      if (stage == 2) {
        // The step launched last is not the one that is waited for.
        auto single = std::make_shared<std::vector<bool>>();
        fake.before_step = [single](const Batch& batch, std::uint64_t) {
          single->push_back(batch.sequences.size() < 2);
        };
        fake.before_wait = [=](std::uint64_t step) {
          if (lost || !single->at(step)) maybe_fail(step);
        };
      }
      auto engine =
          make_engine({.max_running_sequences = 9, .max_step_tokens = 24, .kv_blocks = 40}, fake);
      for (int round = 0; round < 3; ++round) {
        std::vector<RequestHandle> handles;
        for (int i = 0; i < kJobs; ++i) handles.push_back(*engine->submit(varied_job(i)));
        for (int i = 0; i < kJobs; ++i) {
          SCOPED_TRACE(i);
          expect_same(read_all(handles[i]), expected_answers()[i]);
        }
      }
      EXPECT_TRUE(engine->stats().healthy);
      if (stage != 1 || GetParam().draws) {
        EXPECT_GT(state->faults, 0);
      }
    }
  }
}

TEST_P(Stages, ReadersThatStopCancelOrAreLateLeaveOthersAnswersAsTheyAre) {
  auto engine = make_engine({.max_running_sequences = 9, .max_step_tokens = 24, .kv_blocks = 60},
                            repeating());
  std::mt19937 random(3);
  for (int round = 0; round < 10; ++round) {
    std::vector<std::optional<RequestHandle>> handles;
    for (int i = 0; i < kJobs; ++i) {
      GenerateJob job = varied_job(i);
      if (i % 8 == 7) job.deadline = in_seconds(0.002);
      handles.emplace_back(*engine->submit(std::move(job)));
    }
    for (int i = 5; i < kJobs; i += 8) handles[i].reset();
    for (int i = 6; i < kJobs; i += 8) handles[i]->stop_sample(0);
    for (int i = 0; i < kJobs; ++i) {
      if (i % 8 >= 5) continue;
      SCOPED_TRACE(i);
      expect_same(read_all(*handles[i]), expected_answers()[i]);
    }
    for (int i = 6; i < kJobs; i += 8) EXPECT_EQ(read_all(*handles[i]).terminals.size(), 1u);
  }
  EXPECT_TRUE(eventually([&] { return engine->stats().live_requests == 0; }));
  EXPECT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }));
}

TEST_P(Stages, ASlowReadersAnswerIsTheSame) {
  auto engine = make_engine({.max_running_sequences = 9, .channel_capacity = 2}, repeating());
  std::vector<RequestHandle> handles;
  for (int i = 0; i < kJobs; ++i) handles.push_back(*engine->submit(varied_job(i)));
  for (int i = 0; i < kJobs; ++i) {
    SCOPED_TRACE(i);
    expect_same(read_all(handles[i]), expected_answers()[i]);
  }
}

// Case: one poisoned request after the other among healthy ones, and then alone.
TEST_P(Stages, PoisonedRequestsDoNotMakeTheEngineUnhealthy) {
  FakeOptions fake;
  fake.before_step = [](const Batch& batch, std::uint64_t) {
    if (std::ranges::count(batch.tokens, kPoison) > 0) throw std::runtime_error("poison");
  };
  auto engine = make_engine({}, fake);
  std::atomic<bool> over{false};
  std::thread healthy([&] {
    while (!over) {
      GenerateJob job = job_of({1, 2, 3}, 8);
      job.sampling.logit_bias = {{kPoison, -100}};
      auto handle = engine->submit(job);
      ASSERT_TRUE(handle);
      EXPECT_TRUE(read_all(*handle).completed());
    }
  });
  for (int i = 0; i < 1000 / kSlowness; ++i) {
    auto handle = engine->submit(job_of({1, kPoison, 3}, 8));
    ASSERT_TRUE(handle) << handle.error().message;
    EXPECT_EQ(read_all(*handle).error_code(), "internal_error");
  }
  over = true;
  healthy.join();
  for (int i = 0; i < 20; ++i) {
    auto handle = engine->submit(job_of({kPoison}, 8));
    ASSERT_TRUE(handle) << "alone as well: " << handle.error().message;
    EXPECT_EQ(read_all(*handle).error_code(), "internal_error");
    EXPECT_TRUE(engine->stats().healthy);
  }
}

TEST_P(Stages, ADeviceThatLosesItsCacheAtEveryStepEndsItsRequestsAndIsUnhealthy) {
  auto losing = std::make_shared<std::atomic<bool>>(true);
  FakeOptions fake;
  fake.before_wait = [losing](std::uint64_t) {
    if (*losing) throw CacheLost("again");
  };
  auto engine = make_engine({}, fake);
  auto handle = engine->submit(job_of({1, 2, 3}, 8));
  EXPECT_EQ(read_all(*handle).error_code(), "internal_error");
  EXPECT_FALSE(engine->stats().healthy);
  EXPECT_FALSE(engine->submit(job_of({1}, 1)));
  *losing = false;
  EXPECT_TRUE(eventually([&] { return engine->stats().healthy; }));
  auto after = engine->submit(job_of({1, 2, 3}, 8));
  ASSERT_TRUE(after);
  EXPECT_EQ(read_all(*after).tokens, run_alone(job_of({1, 2, 3}, 8)).tokens);
}

// While one step is waited for, the next is on its way.
TEST(Overlap, TheNextStepIsLaunchedBeforeTheLastIsWaitedFor) {
  FakeOptions fake;
  fake.draws = true;
  fake.ahead = 1;
  std::atomic<std::uint64_t> launched{0};
  std::atomic<int> ahead{0}, waits{0};
  fake.before_step = [&](const Batch&, std::uint64_t step) { launched = step; };
  fake.before_wait = [&](std::uint64_t step) {
    ++waits;
    ahead += launched > step;
  };
  auto engine = make_engine({.max_draft_tokens = 0}, fake);
  auto handle = engine->submit(job_of({1, 2}, 50));
  EXPECT_TRUE(read_all(*handle).completed());
  EXPECT_EQ(waits, 50) << "an end that is known beforehand costs no step";
  EXPECT_EQ(ahead, 49);
}

TEST(Overlap, AnAnswerThatHasEndedHasOneMoreStepThatNobodyReads) {
  FakeOptions fake;
  fake.draws = true;
  fake.ahead = 1;
  fake.edit_logits =
      certain_next_token([](std::span<const int> history) { return history.size() == 12 ? 9 : 5; });
  auto engine = make_engine({.max_draft_tokens = 0}, fake);
  GenerateJob job = job_of({1, 2}, 50);
  job.stop_ids = {9};
  auto handle = engine->submit(job);
  const Answer answer = read_all(*handle);
  ASSERT_TRUE(answer.completed());
  EXPECT_EQ(answer.tokens[0], std::vector<int>(10, 5));
  EXPECT_TRUE(eventually([&] { return engine->stats().steps == 12; }));
  EXPECT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }));
}

}  // namespace
}  // namespace mlxd::testing
