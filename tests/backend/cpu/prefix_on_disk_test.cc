// What the cpu backend computes is the same bits whether its KV blocks were computed or read from
// disk after a restart, by other workers and to other places in the cache.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/tiny_model.h"
#include "engine/engine.h"
#include "engine/engine_fixture.h"
#include "prefix_store/temporary_folder.h"

namespace mlxd::cpu {
namespace {

using mlxd::testing::Answer;

GenerateJob job_of(int prompt_tokens, std::uint64_t seed) {
  GenerateJob job;
  for (int i = 0; i < prompt_tokens; ++i) job.prompt.push_back((i * i + 7) % 50);
  job.prompt.push_back(static_cast<int>(seed));
  job.max_tokens = 40;
  job.samples = 2;
  job.ignore_eos = true;
  job.sampling.seed = seed;
  job.sampling.logprobs = true;
  job.sampling.top_logprobs = 3;
  job.sampling.repetition_penalty = 1.1f;
  return job;
}

std::vector<Answer> answers_of(const ModelPlan& plan, const EngineOptions& options,
                               const CpuOptions& cpu, const std::vector<GenerateJob>& jobs) {
  Engine engine(options, [&] { return make_cpu_runner(plan, cpu); });
  std::vector<Answer> answers;
  for (const GenerateJob& job : jobs) {
    auto handle = engine.submit(job);
    answers.push_back(handle ? mlxd::testing::read_all(*handle) : Answer{});
  }
  return answers;
}

struct Flavour {
  const char* name;
  KvFormat format;
  Recurrent recurrent;
};

class PrefixOnDiskOfACpuRunner : public ::testing::TestWithParam<Flavour> {};

TEST_P(PrefixOnDiskOfACpuRunner, AnswersAreTheSameBitsAfterARestart) {
  const auto [name, format, recurrent] = GetParam();
  TinyModelOptions model{.head_norms = true, .window = 40};
  if (recurrent != Recurrent::none) {
    model = {.layers = 4, .gated = true, .recurrent = recurrent};
  }
  const ModelPlan plan = tiny_model(model);
  std::vector<GenerateJob> jobs;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) jobs.push_back(job_of(200, seed));
  EngineOptions options;
  options.kv_blocks = 100;
  options.prefix_cache = false;
  const auto expected = answers_of(plan, options, {.threads = 1, .kv_format = format}, jobs);

  const mlxd::testing::TemporaryFolder folder;
  options.prefix_cache = true;
  options.check_integrity = true;
  options.prefix_disk.directory = folder.path();
  for (const int threads : {1, 2, 3}) {
    options.kv_blocks = 100 - 10 * threads;
    const auto answers = answers_of(plan, options, {.threads = threads, .kv_format = format}, jobs);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      ASSERT_TRUE(answers[i].completed());
      const int cached = answers[i].terminals[0].cached_prompt_tokens;
      EXPECT_EQ(cached, threads == 1 && i == 0 ? 0 : 192);
      ASSERT_EQ(answers[i].tokens, expected[i].tokens);
      ASSERT_EQ(answers[i].details.size(), expected[i].details.size());
      for (std::size_t token = 0; token < answers[i].details.size(); ++token) {
        ASSERT_EQ(answers[i].details[token].logprob, expected[i].details[token].logprob);
      }
    }
  }
  const KvFormat other = format == KvFormat::f16 ? KvFormat::int8 : KvFormat::f16;
  const auto answers = answers_of(plan, options, {.threads = 1, .kv_format = other}, {jobs[0]});
  EXPECT_EQ(answers[0].terminals.at(0).cached_prompt_tokens, 0) << "blocks of the other format";
}

INSTANTIATE_TEST_SUITE_P(
    Formats, PrefixOnDiskOfACpuRunner,
    ::testing::Values(Flavour{"f16", KvFormat::f16, Recurrent::none},
                      Flavour{"int8", KvFormat::int8, Recurrent::none},
                      Flavour{"recurrent", KvFormat::f16, Recurrent::delta_net},
                      Flavour{"convolutions", KvFormat::f16, Recurrent::short_convolution},
                      Flavour{"mamba2", KvFormat::f16, Recurrent::mamba2}),
    [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace mlxd::cpu
