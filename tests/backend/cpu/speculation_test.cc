#include "backend/cpu/speculation.h"

#include <gtest/gtest.h>

#include "backend/cpu/tiny_model.h"

namespace mlxd::cpu {
namespace {

// The promise that speculation rests on: a row has the same logits however many come with it.
TEST(SpeculationOnTinyModels, AnswersAreThoseWithoutIt) {
  for (const Encoding encoding : {Encoding::f32, Encoding::q8_0, Encoding::q4_1}) {
    for (const int window : {0, 40}) {
      TinyModelOptions tiny;
      tiny.encoding = encoding;
      tiny.window = window;
      const ModelPlan plan = tiny_model(tiny);
      std::vector<GenerateJob> jobs;
      for (int i = 0; i < 2; ++i) {
        std::vector<int> prompt;
        for (int j = 0; j < 30 + 20 * i; ++j) prompt.push_back((j % 3) * 7);
        jobs.push_back(mlxd::testing::job_of(prompt, 100, i));
        // Random weights hardly repeat themselves, unless they have few words.
        for (const int token : {0, 7, 14}) jobs.back().sampling.logit_bias.push_back({token, 50});
        jobs.back().sampling.logprobs = true;
      }
      EXPECT_GT(expect_same_answers_with_drafts(plan, jobs, 2), 20u) << "window " << window;
    }
  }
}

}  // namespace
}  // namespace mlxd::cpu
