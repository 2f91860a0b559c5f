#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine_fixture.h"

namespace mlxd::testing {

inline std::vector<int> random_tokens(std::mt19937& random, int count) {
  std::vector<int> tokens(count);
  for (int& token : tokens) token = static_cast<int>(random() % 64);
  return tokens;
}

inline std::vector<int> joined(std::vector<int> tokens, const std::vector<int>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

// Counts the rows that an engine computes.
struct RowCounter {
  std::shared_ptr<std::atomic<int>> rows = std::make_shared<std::atomic<int>>(0);

  FakeOptions fake(int block_size = 4) const {
    FakeOptions options;
    options.context_length = 8192;
    options.block_size = block_size;
    options.before_step = [rows = rows](const Batch& batch, std::uint64_t) {
      *rows += batch.rows();
    };
    return options;
  }
  int since_last() const { return rows->exchange(0); }
};

inline Answer run(Engine& engine, const GenerateJob& job) {
  auto handle = engine.submit(job);
  EXPECT_TRUE(handle) << handle.error().message;
  return handle ? read_all(*handle) : Answer{};
}

inline int cached(const Answer& answer) { return answer.terminals.at(0).cached_prompt_tokens; }

// A conversation's beginning is one of a few, so that prefixes are shared, and all parameters that
// shape an answer vary.
inline std::vector<GenerateJob> shared_prefix_jobs(unsigned seed, int count) {
  std::mt19937 random(seed);
  const auto one_in = [&](int n) { return random() % n == 0; };
  std::vector<std::vector<int>> beginnings;
  for (int i = 0; i < 6; ++i) {
    auto base = i % 2 == 0 ? std::vector<int>{} : beginnings[i - 1];
    beginnings.push_back(joined(base, random_tokens(random, 1 + static_cast<int>(random() % 30))));
  }
  std::vector<GenerateJob> jobs(count);
  for (GenerateJob& job : jobs) {
    job.id = "random";
    job.prompt = joined(beginnings[random() % beginnings.size()],
                        random_tokens(random, 1 + static_cast<int>(random() % 10)));
    if (one_in(8)) job.prompt = beginnings[random() % beginnings.size()];
    job.max_tokens = static_cast<int>(random() % 30);
    job.sampling.seed = random() % 3;  // some answers repeat, and are found again
    job.sampling.logprobs = one_in(3);
    if (one_in(4)) job.sampling.temperature = 0;
    if (one_in(4)) job.sampling.repetition_penalty = 1.2f;
    if (one_in(4)) job.samples = 2 + static_cast<int>(random() % 3);
    if (one_in(3)) job.stop_ids = {static_cast<int>(random() % 64)};
    if (one_in(5)) job.prompt_logprobs = static_cast<int>(random() % 3);
    job.cache_salt = random() % 2;
  }
  return jobs;
}

inline bool equal(const TokenLogprob& a, const TokenLogprob& b) {
  return a.token == b.token && a.logprob == b.logprob;
}

inline void expect_same(const Answer& a, const Answer& b) {
  ASSERT_EQ(a.terminals.size(), 1u);
  ASSERT_EQ(b.terminals.size(), 1u);
  ASSERT_EQ(a.terminals[0].outcome, b.terminals[0].outcome);
  ASSERT_EQ(a.error_code(), b.error_code());
  if (!a.completed()) return;
  ASSERT_EQ(a.tokens, b.tokens);
  ASSERT_EQ(a.finished.size(), b.finished.size());
  ASSERT_EQ(a.prompt.size(), b.prompt.size());
  for (std::size_t i = 0; i < a.prompt.size(); ++i) {
    ASSERT_EQ(a.prompt[i].token, b.prompt[i].token);
    ASSERT_EQ(a.prompt[i].logprob, b.prompt[i].logprob);
    ASSERT_TRUE(std::ranges::equal(a.prompt[i].top, b.prompt[i].top, equal));
  }
  // Samples of one request interleave as their steps fell; within a sample the order is fixed.
  for (int sample = 0; sample < static_cast<int>(a.tokens.size()); ++sample) {
    const auto logprobs_of = [sample](const Answer& answer) {
      std::vector<float> logprobs;
      for (const SampledToken& token : answer.details) {
        if (token.sample == sample) logprobs.push_back(token.logprob);
      }
      return logprobs;
    };
    ASSERT_EQ(logprobs_of(a), logprobs_of(b));
  }
}

// One step in twenty throws.
inline FakeOptions failing_now_and_then() {
  FakeOptions fake;
  fake.before_step = [random = std::mt19937(12)](const Batch&, std::uint64_t) mutable {
    if (random() % 20 == 0) throw std::runtime_error("injected");
  };
  return fake;
}

// Few blocks and places, and prompts in pieces.
inline EngineOptions tight_options() {
  EngineOptions options;
  options.max_step_tokens = 40;
  options.kv_blocks = 90;
  options.max_running_sequences = 10;
  return options;
}

// Submits all, and cancels one of those submitted after some.
inline std::vector<RequestHandle> submit_with_cancels(Engine& engine,
                                                      std::span<const GenerateJob> jobs,
                                                      std::mt19937& random) {
  std::vector<RequestHandle> handles;
  for (const GenerateJob& job : jobs) {
    handles.push_back(*engine.submit(job));
    if (random() % 5 == 0) handles[random() % handles.size()].cancel();
  }
  return handles;
}

inline std::vector<Answer> run_in_waves(Engine& engine, const std::vector<GenerateJob>& jobs,
                                        std::size_t wave) {
  std::vector<Answer> answers;
  for (std::size_t begin = 0; begin < jobs.size(); begin += wave) {
    std::vector<RequestHandle> handles;
    for (std::size_t i = begin; i < std::min(begin + wave, jobs.size()); ++i) {
      auto handle = engine.submit(jobs[i]);
      EXPECT_TRUE(handle) << handle.error().message;
      if (handle) handles.push_back(*std::move(handle));
    }
    for (RequestHandle& handle : handles) answers.push_back(read_all(handle));
  }
  return answers;
}

}  // namespace mlxd::testing
