// Whether an engine on a cpu runner answers the same with speculation and without.
#pragma once

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "engine/engine.h"
#include "engine/engine_fixture.h"

namespace mlxd::cpu {

// Requires the same tokens and the same bits of their log-probabilities of all jobs together.
// Returns how many guesses came true.
inline std::uint64_t expect_same_answers_with_drafts(const ModelPlan& plan,
                                                     const std::vector<GenerateJob>& jobs,
                                                     int threads = 0) {
  std::vector<mlxd::testing::Answer> answers[2];
  std::uint64_t accepted = 0;
  for (const int max_draft_tokens : {0, 8}) {
    EngineOptions options;
    options.kv_blocks = 500;
    options.max_draft_tokens = max_draft_tokens;
    Engine engine(options, [&] { return make_cpu_runner(plan, {.threads = threads}); });
    std::vector<RequestHandle> handles;
    for (const GenerateJob& job : jobs) handles.push_back(*engine.submit(job));
    for (RequestHandle& handle : handles) {
      answers[max_draft_tokens > 0].push_back(mlxd::testing::read_all(handle));
    }
    accepted = engine.stats().accepted_tokens;
  }
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto &plain = answers[0][i], &drafted = answers[1][i];
    EXPECT_TRUE(plain.completed() && drafted.completed());
    EXPECT_EQ(plain.tokens, drafted.tokens) << "request " << i;
    if (plain.tokens != drafted.tokens) continue;
    for (std::size_t j = 0; j < plain.details.size(); ++j) {
      EXPECT_EQ(plain.details[j].logprob, drafted.details[j].logprob) << i << ", token " << j;
    }
  }
  return accepted;
}

}  // namespace mlxd::cpu
