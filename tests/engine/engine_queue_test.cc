// Who waits for how long, and who is not taken.
#include <algorithm>
#include <atomic>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_fixture.h"

namespace mlxd::testing {
namespace {

class EngineQueue : public InEveryCombination {};
INSTANTIATE_IN_EVERY_COMBINATION(EngineQueue);

// A model whose steps wait until `open`.
FakeOptions gated_by(const std::atomic<bool>& open) {
  FakeOptions fake;
  fake.before_step = [&open](const Batch&, std::uint64_t) {
    while (!open) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  return fake;
}

TEST_P(EngineQueue, RefusesWith429WhenTheQueueIsFull) {
  std::atomic<bool> open{false};
  auto engine = make_engine({.max_queued_requests = 3, .max_running_sequences = 1}, gated_by(open));
  std::vector<RequestHandle> accepted;
  accepted.push_back(*engine->submit(job_of({1}, 5)));
  ASSERT_TRUE(eventually([&] { return engine->stats().queued_requests == 0; }));
  for (int i = 0; i < 3; ++i) {
    auto handle = engine->submit(job_of({1}, 5));
    ASSERT_TRUE(handle);
    accepted.push_back(*std::move(handle));
  }
  const auto refused = engine->submit(job_of({1}, 5));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 429);
  EXPECT_EQ(refused.error().code, "queue_full");
  EXPECT_GE(refused.error().retry_after_seconds, 1);
  open = true;
  for (RequestHandle& handle : accepted) EXPECT_TRUE(read_all(handle).completed());
  auto again = engine->submit(job_of({1}, 5));
  ASSERT_TRUE(again);
  EXPECT_TRUE(read_all(*again).completed());
}

TEST_P(EngineQueue, RefusesWith429WhenThePromptsThatWaitAreTooLong) {
  std::atomic<bool> open{false};
  auto engine = make_engine({.max_queued_tokens = 100, .max_running_sequences = 1}, gated_by(open));
  const auto prompt = [](int tokens) { return job_of(std::vector<int>(tokens, 1), 5); };
  std::vector<RequestHandle> accepted;
  accepted.push_back(*engine->submit(prompt(1)));
  ASSERT_TRUE(eventually([&] { return engine->stats().queued_requests == 0; }));
  accepted.push_back(*engine->submit(prompt(60)));
  const auto refused = engine->submit(prompt(41));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 429);
  EXPECT_EQ(refused.error().code, "queue_full");
  EXPECT_NE(refused.error().message.find("60 tokens"), std::string::npos);
  EXPECT_GE(refused.error().retry_after_seconds, 1);
  accepted.push_back(*engine->submit(prompt(40)));
  EXPECT_EQ(engine->stats().queued_tokens, 100);
  accepted.pop_back();  // who leaves makes room
  open = true;
  for (RequestHandle& handle : accepted) EXPECT_TRUE(read_all(handle).completed());
  ASSERT_TRUE(eventually([&] { return engine->stats().queued_tokens == 0; }));
  auto longest = engine->submit(prompt(500));
  ASSERT_TRUE(longest) << "nothing else waits";
  EXPECT_TRUE(read_all(*longest).completed());
}

// Notes the first step that computes a prompt which begins with this token; steps from `gate` on
// wait until they may go on. Other prompts begin with tokens below 50.
struct FirstStepOf60 {
  static constexpr int kToken = 60;
  std::uint64_t gate = 0;
  std::atomic<bool> open{false};
  std::atomic<std::uint64_t> begun{0};

  FakeOptions fake() {
    FakeOptions options;
    options.before_step = [this](const Batch& batch, std::uint64_t step) {
      while (step >= gate && !open) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      for (int row = 0; row < batch.rows(); ++row) {
        if (batch.positions[row] == 0 && batch.tokens[row] == kToken) begun = step;
      }
    };
    return options;
  }
};

TEST_P(EngineQueue, AnUrgentRequestTakesThePlaceOfOthersWhoseAnswersStayTheSame) {
  FirstStepOf60 first{.gate = 20};
  auto engine = make_engine({.max_running_sequences = 4, .kv_blocks = 64}, first.fake());
  const auto job = [](int i) { return job_of(std::vector<int>(20, i), 200, i); };
  std::vector<RequestHandle> handles;
  for (int i = 0; i < 8; ++i) handles.push_back(*engine->submit(job(i)));
  // Of the 20 that may begin, all but one that may be in flight while the next one waits.
  ASSERT_TRUE(eventually([&] { return engine->stats().steps >= 19; }));
  GenerateJob urgent = job_of({FirstStepOf60::kToken, 8, 9}, 3);
  urgent.priority = 5;
  auto handle = engine->submit(urgent);
  first.open = true;
  EXPECT_TRUE(read_all(*handle).completed());
  // A slot for its state may be that of a step in flight.
  EXPECT_LE(first.begun, 23u) << "nobody else's 200 tokens were waited for";
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(read_all(handles[i]).tokens, run_alone(job(i)).tokens) << i;
  }
  EXPECT_GT(engine->stats().preemptions, 0u);
}

TEST_P(EngineQueue, ACallerWithOneRequestDoesNotWaitForAnothersHundreds) {
  FirstStepOf60 first;
  auto engine = make_engine({.max_running_sequences = 8}, first.fake());
  std::vector<RequestHandle> many;
  for (int i = 0; i < 200; ++i) {
    GenerateJob job = job_of(std::vector<int>(50, i % 50), 10, i);
    job.caller = 1;
    many.push_back(*engine->submit(job));
  }
  GenerateJob single = job_of({FirstStepOf60::kToken, 2, 3}, 5);
  single.caller = 2;
  auto one = engine->submit(single);
  first.open = true;
  EXPECT_TRUE(read_all(*one).completed());
  EXPECT_LT(first.begun, 20u) << "what was running, at most";
  for (RequestHandle& handle : many) EXPECT_TRUE(read_all(handle).completed());
}

}  // namespace
}  // namespace mlxd::testing
