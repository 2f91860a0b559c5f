// Answers that are held to a TokenConstraint.
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine_fixture.h"

namespace mlxd::testing {
namespace {

// Counts up by one or two, modulo 16, from 0; every fifth token may be anything; over after `end`
// tokens. It keeps what it accepted, so that it notices what it is not told of.
class Counting : public TokenConstraint {
 public:
  explicit Counting(int end) : end_(end) {}

  bool fill(std::span<std::uint32_t> allowed) override {
    if (anything_goes()) return false;
    for (const int step : {1, 2}) {
      const int token = (last() + step) % 16;
      allowed[token / 32] |= 1u << token % 32;
    }
    return true;
  }
  bool accept(int token) override {
    if (terminated()) return false;
    const int step = ((token - last()) % 16 + 16) % 16;
    if (!anything_goes() && (token >= 16 || (step != 1 && step != 2))) return false;
    tokens_.push_back(token);
    return true;
  }
  void rollback(int tokens) override {
    if (tokens > static_cast<int>(tokens_.size())) throw std::logic_error("nothing to take back");
    tokens_.resize(tokens_.size() - tokens);
  }
  bool terminated() const override { return static_cast<int>(tokens_.size()) == end_; }
  std::unique_ptr<TokenConstraint> fork() const override {
    return std::make_unique<Counting>(*this);
  }

 protected:
  int last() const { return tokens_.empty() ? 0 : tokens_.back() % 16; }
  int next() const { return (last() + 1) % 16; }

 private:
  bool anything_goes() const { return tokens_.size() % 5 == 4; }

  int end_;
  std::vector<int> tokens_;
};

class Constraints : public InEveryCombination {};
INSTANTIATE_IN_EVERY_COMBINATION(Constraints);

GenerateJob counted_job(int i) {
  GenerateJob job = job_of({i % 16, 1, 2, 3, 1, 2, 3}, 30, i);
  job.constraint = std::make_shared<Counting>(i % 3 == 0 ? 18 : 1000);
  job.samples = 1 + i % 3;
  if (i % 4 == 1) job.sampling.temperature = 0;
  if (i % 4 == 2) job.sampling.top_p = 0.5f;
  if (i % 5 == 3) job.sampling.frequency_penalty = 1;
  return job;
}

void expect_counted(const Answer& answer, int i) {
  ASSERT_TRUE(answer.completed()) << answer.error_code();
  ASSERT_EQ(static_cast<int>(answer.tokens.size()), 1 + i % 3);
  for (const auto& tokens : answer.tokens) {
    Counting referee(1000);
    for (const int token : tokens) ASSERT_TRUE(referee.accept(token));
    EXPECT_EQ(tokens.size(), i % 3 == 0 ? 18u : 30u);
  }
  for (const SampleFinished& finished : answer.finished) {
    EXPECT_EQ(finished.reason, i % 3 == 0 ? FinishReason::stop : FinishReason::length);
  }
}

// Preempted, drafted, forked or overlapped: each token is one that may come next, and the same.
TEST_P(Constraints, EverySampleFollowsItsOwnToItsEnd) {
  FakeOptions fake;  // greedy answers repeat themselves
  fake.edit_logits = [](std::span<const int> history, std::span<float> logits) {
    logits[(history.back() + 1) % 16] += 6;
  };
  for (const int blocks : {30, 400}) {
    auto engine = make_engine({.max_running_sequences = 9, .kv_blocks = blocks}, fake);
    std::vector<RequestHandle> handles;
    for (int i = 0; i < 24; ++i) handles.push_back(*engine->submit(counted_job(i)));
    for (int i = 0; i < 24; ++i) {
      SCOPED_TRACE(i);
      const Answer answer = read_all(handles[i]);
      expect_counted(answer, i);
      EXPECT_EQ(answer.tokens, run_alone(counted_job(i), fake).tokens);
    }
  }
}

TEST_P(Constraints, OneThatThrowsFailsItsRequestAlone) {
  class Throwing : public Counting {
   public:
    using Counting::Counting;
    bool fill(std::span<std::uint32_t> allowed) override {
      if (terminated()) throw std::runtime_error("no grammar");
      return ++fills_ < 5 ? Counting::fill(allowed) : throw std::runtime_error("no grammar");
    }
    std::unique_ptr<TokenConstraint> fork() const override {
      return std::make_unique<Throwing>(*this);
    }

   private:
    int fills_ = 0;
  };
  auto engine = make_engine();
  auto healthy = engine->submit(counted_job(4));
  GenerateJob job = job_of({1, 2}, 20);
  job.constraint = std::make_shared<Throwing>(1000);
  auto guilty = engine->submit(job);
  EXPECT_EQ(read_all(*guilty).error_code(), "internal_error");
  expect_counted(read_all(*healthy), 4);
  EXPECT_TRUE(engine->stats().healthy);
}

// Counts up by one, which it says beforehand.
class Forcing : public Counting {
 public:
  using Counting::Counting;
  bool fill(std::span<std::uint32_t> allowed) override {
    const int token = next();
    allowed[token / 32] |= 1u << token % 32;
    return true;
  }
  void add_forced(std::size_t most, std::vector<int>& tokens) override {
    for (std::size_t i = 0; i < most; ++i) tokens.push_back((next() + static_cast<int>(i)) % 16);
  }
  std::unique_ptr<TokenConstraint> fork() const override {
    return std::make_unique<Forcing>(*this);
  }
};

// After five tokens nothing may come.
class DeadEnd : public TokenConstraint {
 public:
  bool fill(std::span<std::uint32_t> allowed) override {
    if (accepted_ < 5) allowed[0] = 0xFF;
    return true;
  }
  bool accept(int token) override { return token < 8 && accepted_ < 5 && ++accepted_ > 0; }
  void rollback(int tokens) override { accepted_ -= tokens; }
  bool terminated() const override { return false; }
  std::unique_ptr<TokenConstraint> fork() const override {
    return std::make_unique<DeadEnd>(*this);
  }

 private:
  int accepted_ = 0;
};

TEST_P(Constraints, OneThatLeadsNowhereIsTheClientsMistakeAndEndsItsRequestAlone) {
  auto engine = make_engine();
  GenerateJob held = job_of({1, 2, 3}, 30);
  held.constraint = std::make_shared<DeadEnd>();
  auto other = engine->submit(counted_job(3));
  auto ended = engine->submit(held);
  const Answer answer = read_all(*ended);
  EXPECT_EQ(answer.error_code(), "invalid_grammar");
  EXPECT_EQ(answer.terminals.at(0).error.status, 400);
  ASSERT_EQ(answer.tokens.size(), 1u);
  EXPECT_EQ(answer.tokens[0].size(), 5u);
  expect_counted(read_all(*other), 3);
}

TEST_P(Constraints, WhatMustComeIsDrafted) {
  if (!GetParam().drafts) return;
  std::vector<int> with;
  for (const int most : {8, 0}) {
    EngineOptions options;
    options.max_draft_tokens = most;
    auto engine = make_engine(options);
    GenerateJob job = job_of({3, 1, 2}, 33);
    job.constraint = std::make_shared<Forcing>(1000);
    auto handle = engine->submit(job);
    const Answer answer = read_all(*handle);
    ASSERT_TRUE(answer.completed()) << answer.error_code();
    ASSERT_EQ(answer.tokens.at(0).size(), 33U);
    // Where a token is still to come, what follows it is guessed.
    const EngineStats stats = engine->stats();
    if (most > 0) {
      EXPECT_GE(stats.accepted_tokens, 16U);
      with = answer.tokens[0];
    } else {
      EXPECT_EQ(stats.drafted_tokens, 0U);
      EXPECT_EQ(answer.tokens[0], with);
    }
  }
}

}  // namespace
}  // namespace mlxd::testing
