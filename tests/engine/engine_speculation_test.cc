#include <algorithm>
#include <map>
#include <random>
#include <stdexcept>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_fixture.h"

namespace mlxd::testing {
namespace {

// A model that likes to repeat itself: what followed its last two tokens before is likely again.
FakeOptions repetitive_model(float inclination = 8) {
  FakeOptions fake;
  fake.edit_logits = [inclination](std::span<const int> history, std::span<float> logits) {
    const auto last = history.size() - 1;
    for (auto i = last; i-- > 1;) {
      if (history[i] != history[last] || history[i - 1] != history[last - 1]) continue;
      if (history[i + 1] >= 0) logits[history[i + 1]] += inclination;
      return;
    }
  };
  return fake;
}

std::vector<int> repeated(const std::vector<int>& pattern, int length) {
  std::vector<int> tokens;
  for (int i = 0; i < length; ++i) tokens.push_back(pattern[i % pattern.size()]);
  return tokens;
}

// A request whose prompt repeats itself, with any of the parameters that shape an answer.
GenerateJob random_job(std::mt19937& random) {
  const auto below = [&](int n) { return static_cast<int>(random() % n); };
  const auto one_in = [&](int n) { return below(n) == 0; };
  std::vector<int> pattern(3 + below(8));
  for (int& token : pattern) token = below(64);
  GenerateJob job = job_of(repeated(pattern, 1 + below(40)), 1 + below(60), random());
  if (one_in(3)) job.sampling.temperature = 0;
  if (one_in(4)) job.sampling.top_p = 0.8f;
  if (one_in(4)) job.sampling.top_k = 10;
  if (one_in(4)) job.sampling.min_p = 0.05f;
  if (one_in(4)) job.sampling.repetition_penalty = 1.1f;
  if (one_in(4)) job.sampling.presence_penalty = 0.3f;
  if (one_in(4)) job.sampling.frequency_penalty = 0.1f;
  if (one_in(4)) job.sampling.logit_bias = {{below(64), 3}};
  if (one_in(3)) job.sampling.logprobs = true;
  if (one_in(2)) job.sampling.top_logprobs = 3;
  if (one_in(4)) job.samples = 2 + below(3);
  if (one_in(3)) job.stop_ids = {pattern[0], below(64)};
  if (one_in(3)) job.min_tokens = below(30);
  if (one_in(8)) job.ignore_eos = true;
  if (one_in(8)) job.prompt_logprobs = 1;
  return job;
}

std::vector<GenerateJob> random_jobs(unsigned seed, int count) {
  std::mt19937 random(seed);
  std::vector<GenerateJob> jobs;
  for (int i = 0; i < count; ++i) jobs.push_back(random_job(random));
  return jobs;
}

std::vector<Answer> run_together(Engine& engine, const std::vector<GenerateJob>& jobs) {
  std::vector<RequestHandle> handles;
  for (const GenerateJob& job : jobs) {
    auto handle = engine.submit(job);
    EXPECT_TRUE(handle) << handle.error().message;
    if (handle) handles.push_back(*std::move(handle));
  }
  // In turns: a channel that is full pauses its sequence until it is read.
  std::vector<Answer> answers(handles.size());
  EXPECT_TRUE(eventually([&] {
    std::size_t ended = 0;
    for (std::size_t i = 0; i < handles.size(); ++i) {
      while (auto event = handles[i].try_next()) take(answers[i], *std::move(event));
      ended += answers[i].terminals.size();
    }
    return ended == handles.size();
  }));
  return answers;
}

// All that a client is told, in its order for each sample.
using Logprobs = std::vector<std::pair<int, float>>;
Logprobs pairs(const std::vector<TokenLogprob>& top) {
  Logprobs list;
  for (const TokenLogprob& entry : top) list.emplace_back(entry.token, entry.logprob);
  return list;
}

struct Told {
  std::vector<std::vector<int>> tokens;
  std::map<int, Logprobs> logprobs;
  std::map<int, std::vector<Logprobs>> top;
  Logprobs prompt;
  std::map<int, FinishReason> finished;
  std::string error;

  bool operator==(const Told&) const = default;
};

Told told(const Answer& answer) {
  Told all;
  all.tokens = answer.tokens;
  all.error = answer.error_code();
  for (const SampledToken& token : answer.details) {
    all.logprobs[token.sample].emplace_back(token.token, token.logprob);
    all.top[token.sample].push_back(pairs(token.top));
  }
  for (const PromptToken& token : answer.prompt) {
    all.prompt.emplace_back(token.token, token.logprob);
  }
  for (const SampleFinished& sample : answer.finished) all.finished[sample.sample] = sample.reason;
  return all;
}

EngineOptions many_queued(int max_draft_tokens) {
  EngineOptions options;
  options.max_queued_requests = 1000;
  options.max_draft_tokens = max_draft_tokens;
  return options;
}

std::vector<Answer> without_speculation(const std::vector<GenerateJob>& jobs) {
  auto engine = make_engine(many_queued(0), repetitive_model());
  auto answers = run_together(*engine, jobs);
  EXPECT_EQ(engine->stats().drafted_tokens, 0u);
  return answers;
}

void expect_same(const std::vector<Answer>& answers, const std::vector<Answer>& expected) {
  ASSERT_EQ(answers.size(), expected.size());
  for (std::size_t i = 0; i < answers.size(); ++i) {
    ASSERT_EQ(answers[i].terminals.size(), 1u) << i;
    ASSERT_TRUE(told(answers[i]) == told(expected[i])) << "request " << i;
  }
}

TEST(Speculation, AnswersOfRequestsThatComeAloneAreThoseWithoutIt) {
  const auto jobs = random_jobs(4, 100);
  const auto expected = without_speculation(jobs);
  auto engine = make_engine(many_queued(8), repetitive_model());
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    expect_same(run_together(*engine, {jobs[i]}), {expected[i]});
  }
  EXPECT_GT(engine->stats().accepted_tokens, 200u);
}

TEST(Speculation, HundredsOfAnswersAreThoseWithoutItHoweverTightTheEngine) {
  const auto jobs = random_jobs(1, 300);
  const auto expected = without_speculation(jobs);
  struct Setting {
    int running, step_tokens, kv_blocks, capacity;
  };
  for (const auto& [running, step_tokens, kv_blocks, capacity] :
       {Setting{4, 512, 0, 256}, Setting{8, 24, 0, 7}, Setting{4, 6, 60, 256},
        Setting{6, 64, 40, 3}, Setting{12, 64, 50, 256}}) {
    EngineOptions options = many_queued(8);
    options.max_running_sequences = running;
    options.max_step_tokens = step_tokens;
    options.kv_blocks = kv_blocks;
    options.channel_capacity = capacity;
    auto engine = make_engine(options, repetitive_model());
    expect_same(run_together(*engine, jobs), expected);
    const EngineStats stats = engine->stats();
    EXPECT_GT(stats.accepted_tokens, 100u) << running << " sequences, " << kv_blocks << " blocks";
    EXPECT_LE(stats.accepted_tokens, stats.drafted_tokens);
    EXPECT_EQ(stats.kv_blocks_used, 0);
  }
}

TEST(Speculation, AStepThatFailsBecauseOfDraftsCostsNoRequest) {
  const auto jobs = random_jobs(2, 60);
  const auto expected = without_speculation(jobs);
  FakeOptions fake = repetitive_model();
  fake.before_step = [](const Batch& batch, std::uint64_t step) {
    const bool drafted = batch.wanted.size() > batch.sequences.size();
    if (drafted && step % 3 != 0) throw std::bad_alloc();
  };
  // Not prompt log-probabilities, whose rows look like drafts to the failure above.
  std::vector<GenerateJob> plain;
  std::vector<Answer> plain_expected;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (jobs[i].prompt_logprobs >= 0) continue;
    plain.push_back(jobs[i]);
    plain_expected.push_back(expected[i]);
  }
  EngineOptions options = many_queued(8);
  options.max_running_sequences = 4;
  auto engine = make_engine(options, fake);
  expect_same(run_together(*engine, plain), plain_expected);
  EXPECT_GT(engine->stats().accepted_tokens, 0u);
}

TEST(Speculation, WithStepsThatFailAtRandomWhoeverIsAnsweredIsAnsweredAlike) {
  const auto jobs = random_jobs(3, 200);
  const auto expected = without_speculation(jobs);
  for (unsigned seed = 0; seed < 3; ++seed) {
    FakeOptions fake = repetitive_model();
    fake.before_step = [random = std::mt19937(seed)](const Batch&, std::uint64_t) mutable {
      if (random() % 12 == 0) throw std::runtime_error("injected");
    };
    EngineOptions options = many_queued(8);
    options.max_running_sequences = 6;
    options.kv_blocks = 60;
    auto engine = make_engine(options, fake);
    const auto answers = run_together(*engine, jobs);
    int completed = 0;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      ASSERT_EQ(answers[i].terminals.size(), 1u);
      if (!answers[i].completed()) continue;
      ++completed;
      ASSERT_TRUE(told(answers[i]) == told(expected[i])) << i;
    }
    EXPECT_GT(completed, 40);
    EXPECT_GT(engine->stats().accepted_tokens, 0u);
    EXPECT_EQ(engine->stats().kv_blocks_used, 0);
  }
}

TEST(Speculation, ATextThatRepeatsItselfTakesAFractionOfTheSteps) {
  GenerateJob job = job_of(repeated({5, 9, 2, 7, 7, 1}, 30), 200);
  job.sampling.temperature = 0;
  const FakeOptions fake = repetitive_model(1000);
  auto plain = make_engine(many_queued(0), fake);
  auto drafting = make_engine(many_queued(8), fake);
  expect_same(run_together(*drafting, {job}), run_together(*plain, {job}));
  // A step is counted when it is over, and the last one's end is told within it.
  EXPECT_TRUE(eventually([&] { return plain->stats().steps == 200; }));
  EXPECT_TRUE(eventually([&] {
    return drafting->stats().steps + drafting->stats().accepted_tokens == 200;
  })) << "each guess that comes true saves a step";
  EXPECT_LE(drafting->stats().steps, 40u);
}

// Says 1 2 and a number, and always another number: each pair 1 2 has been there before, and what
// followed it never follows again. From `end` on it repeats one token.
FakeOptions misleading_model(std::size_t end) {
  FakeOptions fake;
  fake.edit_logits = certain_next_token([end](std::span<const int> history) {
    const auto position = history.size();
    if (position >= end) return 63;
    return position % 3 < 2 ? 1 + static_cast<int>(position % 3)
                            : 3 + static_cast<int>(position / 3 % 59);
  });
  return fake;
}

TEST(Speculation, PoorGuessesEndItAndGoodOnesBeginItAgain) {
  auto engine = make_engine(many_queued(8), misleading_model(1000));
  ASSERT_TRUE(run_together(*engine, {job_of({0}, 150)})[0].completed());
  EXPECT_EQ(engine->stats().accepted_tokens, 0u);
  EXPECT_GT(engine->stats().drafted_tokens, 0u);
  EXPECT_LT(engine->stats().drafted_tokens, 30u);

  engine = make_engine(many_queued(8), misleading_model(151));
  ASSERT_TRUE(run_together(*engine, {job_of({0}, 250)})[0].completed());
  EXPECT_GT(engine->stats().accepted_tokens, 60u);
}

TEST(Speculation, TakesTheLastBlocksOfTheCacheButPreemptsNobody) {
  // Three sequences that fill the cache to its last block at their ends, each in blocks of its own.
  EngineOptions options = many_queued(8);
  options.kv_blocks = 3 * 20;
  options.max_running_sequences = 3;
  auto engine = make_engine(options, repetitive_model(1000));
  std::vector<GenerateJob> jobs;
  for (int i = 0; i < 3; ++i) {
    jobs.push_back(job_of(repeated({i, 9, 2, 7 + i}, 21), 60));  // 80 tokens are kept
    jobs.back().sampling.temperature = 0;
  }
  for (const Answer& answer : run_together(*engine, jobs)) EXPECT_TRUE(answer.completed());
  EXPECT_GT(engine->stats().accepted_tokens, 60u);
  EXPECT_EQ(engine->stats().preemptions, 0u);
}

TEST(Speculation, ASlowReaderIsLeftNoMoreThanItsChannelHolds) {
  for (const int samples : {1, 3}) {
    for (const int capacity : {1, 2, 5, 16}) {
      EngineOptions options = many_queued(8);
      options.channel_capacity = capacity;
      auto engine = make_engine(options, repetitive_model(1000));
      GenerateJob job = job_of(repeated({3, 1, 4}, 20), 500);
      job.samples = samples;
      const auto handle = engine->submit(job);
      ASSERT_TRUE(eventually([&] { return engine->stats().paused_sequences == samples; }));
      // A step begins when there is room, and each sample draws in it.
      EXPECT_LT(engine->stats().generated_tokens, static_cast<std::uint64_t>(capacity + samples));
    }
  }
}

TEST(Speculation, IsOffWhereRowsDependOnTheirBatch) {
  FakeOptions fake = repetitive_model();
  fake.rows_are_independent = false;
  auto engine = make_engine(many_queued(8), fake);
  run_together(*engine, random_jobs(1, 20));
  EXPECT_EQ(engine->stats().drafted_tokens, 0u);
}

}  // namespace
}  // namespace mlxd::testing
