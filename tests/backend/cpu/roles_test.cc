// Rows of prompts where they are computed on a matrix unit, and generated ones beside them. That
// their bits depend on nothing else is runner_test.cc's.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/random_batches.h"
#include "backend/cpu/reference.h"
#include "backend/cpu/relative_error.h"
#include "backend/cpu/sequence_driver.h"
#include "backend/cpu/speculation.h"
#include "backend/cpu/tiny_model.h"
#include "engine/prefix_fixture.h"

namespace mlxd::cpu {
namespace {

TinyModelOptions windowed() {
  TinyModelOptions options;
  options.head_norms = true;
  options.window = 40;
  options.softcap = 20;
  return options;
}

// The instruction sets in which a row's role decides how it is computed.
std::vector<std::string> sets_with_roles() {
  std::vector<std::string> names;
  for (const char* name : {"amx_model", "amx"}) {
    if (find_kernels(name)) names.push_back(name);
  }
  return names;
}

TEST(Roles, OfAPromptAreRowsThatComeNearerToTheModelThanGeneratedOnes) {
  TinyModelOptions options;
  options.encoding = Encoding::q8_0;
  const ModelPlan plan = tiny_model(options);
  const std::vector<int> tokens = random_tokens(80, 9, plan.config.vocab_size);
  const std::vector<Row> expected = Reference(plan).logits(tokens);
  for (const std::string& isa : sets_with_roles()) {
    const auto runner = make_cpu_runner(plan, {.threads = 2, .isa = isa});
    EXPECT_TRUE(runner->info().has_roles);
    SequenceDriver driver(*runner, 16);
    std::vector<double> errors;
    for (const int prompt : {80, 0}) {
      const int sequence = driver.add(tokens, prompt);
      double error = 0;
      for (const auto& [row, logits] : driver.step({{sequence, 80}})) {
        error += relative_error(logits, expected[row.second]) / 80;
      }
      errors.push_back(error);
    }
    // The head, and what comes after the last keys and values, is by dot products for both.
    EXPECT_LT(errors[0], 0.9 * errors[1]) << isa;
  }
}

TEST(Roles, AttentionOfAPromptComesNearAPlainForwardPass) {
  // Of plain floats, whose products have no role: what is left is attention.
  for (TinyModelOptions options : {TinyModelOptions{}, windowed()}) {
    for (const KvFormat format : {KvFormat::f16, KvFormat::int8}) {
      const ModelPlan plan = tiny_model(options);
      const std::vector<int> tokens = random_tokens(150, 7, plan.config.vocab_size);
      const std::vector<Row> expected = Reference(plan).logits(tokens);
      for (const std::string& isa : sets_with_roles()) {
        const auto runner = make_cpu_runner(plan, {.threads = 2, .isa = isa, .kv_format = format});
        SequenceDriver driver(*runner, 32);
        double mean = 0, mean_of_generated = 0;
        const int prompt = driver.add(tokens, 150), generated = driver.add(tokens, 0);
        for (const auto& [row, logits] : driver.step({{prompt, 150}, {generated, 150}})) {
          double& error = row.first == prompt ? mean : mean_of_generated;
          error += relative_error(logits, expected[row.second]) / 150;
        }
        // Some roundings to bfloat16, one after the other.
        EXPECT_LT(mean, 4e-3 + mean_of_generated) << isa;
      }
    }
  }
}

TEST(Roles, MakeNoDifferenceToRunnersThatHaveNone) {
  const ModelPlan plan = tiny_model({.encoding = Encoding::q4_1});
  const std::vector<int> tokens = random_tokens(40, 9, plan.config.vocab_size);
  const auto runner = make_cpu_runner(plan, {.threads = 1, .isa = "portable"});
  EXPECT_FALSE(runner->info().has_roles);
  SequenceDriver driver(*runner, 16);
  const int prompt = driver.add(tokens, 40), generated = driver.add(tokens, 0);
  const auto logits = driver.step({{prompt, 40}, {generated, 40}});
  for (int i = 0; i < 40; ++i) EXPECT_EQ(logits.at({prompt, i}), logits.at({generated, i}));
}

TEST(Roles, GeneratedRowsHaveTheBitsThatTheyHaveWithoutAUnit) {
  const ModelPlan plan = tiny_model({.encoding = Encoding::q4_1});
  const std::vector<int> tokens = random_tokens(50, 9, plan.config.vocab_size);
  for (const std::string& isa : sets_with_roles()) {
    std::vector<SequenceDriver::Logits> results;
    for (const std::string& name : {std::string("avx512_vnni"), isa}) {
      const auto runner = make_cpu_runner(plan, {.threads = 2, .isa = name});
      SequenceDriver driver(*runner, 16);
      results.push_back(driver.step({{driver.add(tokens, 0), 50}}));
    }
    EXPECT_EQ(results[0], results[1]) << isa;
  }
}

// The whole way: n samples of a request, drafts, preemption, prompts that contain answers.
TEST(Roles, AnEngineAnswersTheSameHoweverItComesToAnAnswer) {
  TinyModelOptions options;
  options.encoding = Encoding::q4_1;
  const ModelPlan plan = tiny_model(options);
  std::vector<GenerateJob> jobs;
  for (int i = 0; i < 8; ++i) {
    std::vector<int> prompt;
    for (int j = 0; j < 40 + 30 * i; ++j) prompt.push_back(j % 3 * 7 + (j > 50 ? i : 0));
    jobs.push_back(mlxd::testing::job_of(prompt, 60, i));
    for (const int token : {0, 7, 14}) jobs.back().sampling.logit_bias.push_back({token, 50});
    jobs.back().sampling.logprobs = true;
    if (i % 3 == 1) jobs.back().samples = 3;
    if (i % 3 == 2) jobs.back().prompt_logprobs = 1;
  }
  for (const std::string& isa : sets_with_roles()) {
    const auto answer_all = [&](const EngineOptions& engine_options, int threads, bool together) {
      Engine engine(engine_options,
                    [&] { return make_cpu_runner(plan, {.threads = threads, .isa = isa}); });
      std::vector<mlxd::testing::Answer> answers(jobs.size());
      std::vector<RequestHandle> handles;
      for (std::size_t i = 0; i < jobs.size(); ++i) {
        handles.push_back(*engine.submit(jobs[i]));
        if (!together) answers[i] = mlxd::testing::read_all(handles[i]);
      }
      for (std::size_t i = 0; together && i < jobs.size(); ++i) {
        answers[i] = mlxd::testing::read_all(handles[i]);
      }
      return std::pair(std::move(answers), engine.stats());
    };
    EngineOptions plain;
    plain.kv_blocks = 500;
    plain.max_draft_tokens = 0;
    plain.prefix_cache = false;
    const auto expected = answer_all(plain, 1, false).first;
    EngineOptions tight;  // in pieces, with drafts, with less memory than all want
    tight.kv_blocks = 34;
    tight.max_step_tokens = 24;
    tight.max_running_sequences = 8;
    std::uint64_t preemptions = 0;
    for (const int threads : {1, 2, 3, 4}) {
      tight.max_draft_tokens = threads % 2 == 0 ? 0 : 8;
      const auto [answers, stats] = answer_all(tight, threads, true);
      preemptions += stats.preemptions;
      for (std::size_t i = 0; i < jobs.size(); ++i) {
        mlxd::testing::expect_same(answers[i], expected[i]);
      }
    }
    EXPECT_GT(preemptions, 0u) << isa;
  }
}

}  // namespace
}  // namespace mlxd::cpu
