// Every architecture's tiny model on the cpu backend: what a text's logits and answers are does not
// depend on what else is computed, nor on where its keys and values came from.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/random_batches.h"
#include "engine/engine.h"
#include "engine/engine_fixture.h"
#include "golden/golden.h"
#include "model/model_files.h"

namespace mlxd::cpu {
namespace {

using mlxd::testing::Answer;

constexpr int kVocabSize = 272;

std::vector<Answer> answers_of(Engine& engine, const std::vector<GenerateJob>& jobs) {
  std::vector<RequestHandle> handles;
  for (const GenerateJob& job : jobs) handles.push_back(*engine.submit(job));
  std::vector<Answer> answers;
  for (RequestHandle& handle : handles) answers.push_back(mlxd::testing::read_all(handle));
  return answers;
}

class Family : public ::testing::TestWithParam<const char*> {
 protected:
  const ModelPlan plan_ = open_model(golden::load_tiny(GetParam()).model).plan;

  EngineOptions options(int kv_blocks) const {
    EngineOptions options;
    options.kv_blocks = kv_blocks;
    options.check_integrity = true;
    return options;
  }
  Engine::MakeRunner runner() const {
    return [this] { return make_cpu_runner(plan_, {.threads = 2}); };
  }
  // Five requests of up to 140 tokens with all their log-probabilities.
  std::vector<GenerateJob> jobs() const {
    std::vector<GenerateJob> jobs;
    for (int i = 0; i < 5; ++i) {
      jobs.push_back(mlxd::testing::job_of(random_tokens(40 + 15 * i, i + 1, 256), 40, i));
      jobs.back().ignore_eos = true;
      jobs.back().sampling.logprobs = true;
    }
    return jobs;
  }
  void expect_same(const Answer& answer, const Answer& expected) const {
    ASSERT_TRUE(answer.completed() && expected.completed());
    EXPECT_EQ(answer.tokens, expected.tokens);
    ASSERT_EQ(answer.details.size(), expected.details.size());
    for (std::size_t i = 0; i < answer.details.size(); ++i) {
      EXPECT_EQ(answer.details[i].logprob, expected.details[i].logprob) << "token " << i;
    }
  }
};

TEST_P(Family, ARowGivesTheSameBitsAloneAndInAnyBatch) {
  const std::vector<std::vector<int>> prompts = {random_tokens(150, 1, kVocabSize),
                                                 random_tokens(70, 2, kVocabSize),
                                                 random_tokens(33, 3, kVocabSize)};
  const SequenceDriver::Logits expected = alone(plan_, "", prompts);
  int steps = 0;
  for (unsigned seed = 0; seed < 6 && !HasFailure(); ++seed) {
    const CpuOptions options{.threads = static_cast<int>(seed % 3) + 1};
    steps += run_random_batches(plan_, options, seed, prompts, expected);
  }
  EXPECT_GT(steps, 50);
}

TEST_P(Family, AChunkMayEndAtEveryToken) {
  const std::vector<int> tokens = random_tokens(80, 7, kVocabSize);
  for (const char* isa : {"", "amx_model"}) {  // without roles of rows, and with them
    if (find_kernels(isa) == nullptr) continue;
    const SequenceDriver::Logits expected = alone(plan_, isa, {tokens});
    const auto runner = make_cpu_runner(plan_, {.threads = 2, .isa = isa});
    SequenceDriver driver(*runner, 10);
    for (int border = 1; border < 80; ++border) {
      const int sequence = driver.add(tokens, prompt_length(tokens));
      SequenceDriver::Logits logits = driver.step({{sequence, border}});
      logits.merge(driver.step({{sequence, 80 - border}}));
      for (const auto& [row, values] : logits) {
        ASSERT_EQ(values, expected.at({0, row.second})) << isa << " cut after " << border;
      }
      driver.release(sequence);
    }
  }
}

TEST_P(Family, AnAnswerIsTheSameAfterPreemption) {
  Engine roomy(options(100), runner());
  // Three prompts fit, of 12 blocks, and not their answers, of 6 more.
  Engine cramped(options(14), runner());
  const auto expected = answers_of(roomy, jobs());
  // Whether anybody is preempted depends on how close together they arrive.
  for (int time = 0; time < 500 && cramped.stats().preemptions == 0; ++time) {
    const auto answers = answers_of(cramped, jobs());
    for (std::size_t i = 0; i < answers.size(); ++i) expect_same(answers[i], expected[i]);
  }
  EXPECT_EQ(roomy.stats().preemptions, 0u);
  EXPECT_GT(cramped.stats().preemptions, 0u);
}

TEST_P(Family, AnAnswerIsTheSameFromThePrefixCache) {
  Engine engine(options(100), runner());
  const auto computed = answers_of(engine, jobs());
  const auto before = engine.stats().cached_prompt_tokens;
  const auto found = answers_of(engine, jobs());
  EXPECT_GT(engine.stats().cached_prompt_tokens, before + 5 * 32);
  for (std::size_t i = 0; i < found.size(); ++i) expect_same(found[i], computed[i]);
}

std::string name_of(const ::testing::TestParamInfo<const char*>& tested) {
  return golden::test_name(tested.param);
}

INSTANTIATE_TEST_SUITE_P(Floats, Family, ::testing::ValuesIn(golden::kTinyFloats), name_of);
INSTANTIATE_TEST_SUITE_P(GgufTypes, Family, ::testing::ValuesIn(golden::kTinyTypes), name_of);
INSTANTIATE_TEST_SUITE_P(SmallFloats, Family, ::testing::ValuesIn(golden::kTinySmallFloats),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Affine, Family, ::testing::ValuesIn(golden::kTinyAffine), name_of);
INSTANTIATE_TEST_SUITE_P(AffineRecurrent, Family, ::testing::ValuesIn(golden::kTinyAffineRecurrent),
                         name_of);

}  // namespace
}  // namespace mlxd::cpu
