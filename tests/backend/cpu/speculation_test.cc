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
      for (int i = 0; i < 6; ++i) {
        std::vector<int> prompt;
        for (int j = 0; j < 20 + 15 * i; ++j) prompt.push_back((j % (3 + i)) * 7 % 50);
        jobs.push_back(mlxd::testing::job_of(prompt, 80, i));
        // Warm enough to leave its loops, cold enough to come back.
        jobs.back().sampling.temperature = 0.1f * static_cast<float>(i);
        jobs.back().sampling.logprobs = true;
      }
      EXPECT_GT(expect_same_answers_with_drafts(plan, jobs, 2), 20u) << "window " << window;
    }
  }
}

}  // namespace
}  // namespace mlxd::cpu
