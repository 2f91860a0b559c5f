#include <random>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_fixture.h"

namespace mlxd::testing {
namespace {

// A request with any of the parameters that shape the draw.
GenerateJob random_job(std::mt19937& random, int most_prompt = 60, int most_tokens = 40) {
  GenerateJob job;
  job.id = "random";
  const int prompt = 1 + static_cast<int>(random() % most_prompt);
  for (int i = 0; i < prompt; ++i) job.prompt.push_back(static_cast<int>(random() % 64));
  job.max_tokens = 1 + static_cast<int>(random() % most_tokens);
  job.sampling.seed = random();
  const auto one_in = [&](int n) { return random() % n == 0; };
  if (one_in(4)) job.sampling.temperature = 0;
  if (one_in(3)) job.sampling.top_p = 0.8f;
  if (one_in(3)) job.sampling.top_k = 10;
  if (one_in(4)) job.sampling.min_p = 0.05f;
  if (one_in(4)) job.sampling.repetition_penalty = 1.2f;
  if (one_in(4)) job.sampling.frequency_penalty = 0.5f;
  if (one_in(4)) job.sampling.logit_bias = {{static_cast<int>(random() % 64), 3}};
  if (one_in(4)) job.samples = 2 + static_cast<int>(random() % 3);
  if (one_in(3)) job.stop_ids = {static_cast<int>(random() % 64)};
  if (one_in(6)) job.prompt_logprobs = 1;
  return job;
}

std::vector<Answer> run_together(Engine& engine, const std::vector<GenerateJob>& jobs) {
  std::vector<RequestHandle> handles;
  for (const GenerateJob& job : jobs) {
    auto handle = engine.submit(job);
    EXPECT_TRUE(handle) << handle.error().message;
    if (handle) handles.push_back(*std::move(handle));
  }
  std::vector<Answer> answers;
  for (RequestHandle& handle : handles) answers.push_back(read_all(handle));
  return answers;
}

class Determinism : public InEveryCombination {};
INSTANTIATE_IN_EVERY_COMBINATION(Determinism);

TEST_P(Determinism, ARequestDrawsTheSameTokensAloneAndAmongSixteenOthers) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 20 / kSlowness; ++trial) {
    std::vector<GenerateJob> jobs;
    for (int i = 0; i < 17; ++i) jobs.push_back(random_job(random));
    auto engine = make_engine();
    const auto answers = run_together(*engine, jobs);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      auto alone = engine->submit(jobs[i]);
      const Answer expected = read_all(*alone);
      ASSERT_TRUE(answers[i].completed());
      ASSERT_EQ(answers[i].tokens, expected.tokens) << "trial " << trial << " request " << i;
      ASSERT_EQ(answers[i].prompt.size(), expected.prompt.size());
    }
  }
}

TEST_P(Determinism, ARequestDrawsTheSameTokensHoweverItsPromptIsCutAndItsReaderDallies) {
  std::mt19937 random(2);
  std::vector<GenerateJob> jobs;
  for (int i = 0; i < 30; ++i) jobs.push_back(random_job(random));
  std::vector<std::vector<std::vector<int>>> expected;
  for (const GenerateJob& job : jobs) expected.push_back(run_alone(job).tokens);
  for (const int step_tokens : {1, 3, 8, 64}) {
    for (const int capacity : {1, 7, 256}) {
      EngineOptions options;
      options.max_step_tokens = step_tokens;
      options.max_running_sequences = 5;
      options.channel_capacity = capacity;
      auto engine = make_engine(options);
      const auto answers = run_together(*engine, jobs);
      for (std::size_t i = 0; i < jobs.size(); ++i) ASSERT_EQ(answers[i].tokens, expected[i]);
    }
  }
}

TEST_P(Determinism, AnotherSeedGivesOtherTokens) {
  EXPECT_NE(run_alone(job_of({1, 2, 3}, 20, 1)).tokens, run_alone(job_of({1, 2, 3}, 20, 2)).tokens);
}

TEST_P(Determinism, FiveHundredRequestsAtAQuarterOfTheMemoryEqualTheUnconstrainedRun) {
  std::mt19937 random(3);
  std::vector<GenerateJob> jobs;
  for (int i = 0; i < 500 / kSlowness; ++i) jobs.push_back(random_job(random, 40, 60));
  EngineOptions options;
  options.max_queued_requests = 500;
  options.max_running_sequences = 32;
  auto roomy = make_engine(options);
  const auto expected = run_together(*roomy, jobs);
  EXPECT_EQ(roomy->stats().preemptions, 0u);
  // 32 sequences of up to 100 tokens in blocks of 4 want 800 blocks.
  options.kv_blocks = 200;
  auto tight = make_engine(options);
  const auto answers = run_together(*tight, jobs);
  options.kv_blocks = 50;
  auto tightest = make_engine(options);
  const auto squeezed = run_together(*tightest, jobs);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    ASSERT_TRUE(answers[i].completed());
    ASSERT_EQ(answers[i].tokens, expected[i].tokens) << i;
    ASSERT_EQ(squeezed[i].tokens, expected[i].tokens) << i;
    ASSERT_EQ(answers[i].prompt.size(), expected[i].prompt.size()) << i;
  }
  EXPECT_GT(tightest->stats().preemptions, 100u / kSlowness);
  EXPECT_TRUE(eventually([&] { return tight->stats().kv_blocks_used == 0; }));
}

}  // namespace
}  // namespace mlxd::testing
