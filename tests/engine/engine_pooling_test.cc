// Texts that are pooled into vectors: whole ones of an encoder, pieces of a decoder's.
#include <algorithm>
#include <atomic>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/engine_fixture.h"

namespace mlxd::testing {
namespace {

using Outcome = RequestFinished::Outcome;

FakeOptions encoder() {
  FakeOptions fake;
  fake.kv.clear();
  fake.causal = false;
  fake.pooled_size = 3;
  fake.context_length = 40;
  return fake;
}

FakeOptions pooling_decoder() {
  FakeOptions fake;
  fake.pooled_size = 3;
  return fake;
}

std::vector<int> text_of(int length, int seed) {
  std::vector<int> tokens;
  for (int i = 0; i < length; ++i) tokens.push_back((seed * 7 + i * i) % 64);
  return tokens;
}

GenerateJob job_of_texts(int count, int longest = 40) {
  GenerateJob job;
  job.id = "texts";
  for (int i = 0; i < count; ++i) job.texts.push_back({text_of(1 + i % longest, i)});
  return job;
}

std::vector<float> alone(const PooledText& text, const FakeOptions& fake) {
  auto engine = make_engine({}, fake);
  GenerateJob job;
  job.texts = {text};
  auto handle = engine->submit(job);
  return handle ? read_all(*handle).vectors[0] : std::vector<float>{};
}

void expect_all(const Answer& answer, const GenerateJob& job, const FakeOptions& fake) {
  EXPECT_TRUE(answer.completed()) << answer.error_code();
  ASSERT_EQ(answer.vectors.size(), job.texts.size());
  for (std::size_t i = 0; i < job.texts.size(); ++i) {
    EXPECT_EQ(answer.vectors.at(static_cast<int>(i)), alone(job.texts[i], fake)) << i;
  }
}

TEST(EnginePooling, AnEncoderGivesEachTextTheVectorThatItHasAlone) {
  EngineOptions options;
  options.max_step_tokens = 64;
  options.channel_capacity = 3;  // the reader is always behind
  auto engine = make_engine(options, encoder());
  const GenerateJob job = job_of_texts(100);
  auto handle = engine->submit(job);
  ASSERT_TRUE(handle);
  expect_all(read_all(*handle), job, encoder());
  EXPECT_TRUE(eventually([&] { return engine->stats().live_requests == 0; }));
  EXPECT_EQ(engine->stats().prompt_tokens, static_cast<std::uint64_t>(job.prompt_tokens()));
  EXPECT_EQ(engine->stats().generated_tokens, 0u);
}

TEST(EnginePooling, AStepHasSeveralTextsAndNoneIsCut) {
  std::atomic<int> most_texts = 0, most_rows = 0;
  FakeOptions fake = encoder();
  fake.before_step = [&](const Batch& batch, std::uint64_t) {
    most_texts = std::max(most_texts.load(), static_cast<int>(batch.sequences.size()));
    most_rows = std::max(most_rows.load(), batch.rows());
  };
  EngineOptions options;
  options.max_step_tokens = 64;
  auto engine = make_engine(options, fake);  // whose check_batch refuses a part of a text
  auto handle = engine->submit(job_of_texts(200));
  ASSERT_TRUE(handle);
  EXPECT_TRUE(read_all(*handle).completed());
  EXPECT_GT(most_texts, 1);
  EXPECT_LE(most_rows, 64);
}

TEST(EnginePooling, ATextThatIsLongerThanAStepIsComputedAllTheSame) {
  EngineOptions options;
  options.max_step_tokens = 8;
  options.max_running_sequences = 2;
  auto engine = make_engine(options, encoder());
  GenerateJob job;
  job.texts = {{text_of(5, 1)}, {text_of(40, 2)}, {text_of(1, 3)}};
  auto handle = engine->submit(job);
  ASSERT_TRUE(handle);
  expect_all(read_all(*handle), job, encoder());
}

TEST(EnginePooling, ThePartsOfAPairAreToldApart) {
  PooledText one{text_of(10, 1)}, pair{text_of(10, 1), 4};
  EXPECT_NE(alone(one, encoder()), alone(pair, encoder()));
}

TEST(EnginePooling, ADecoderPoolsPromptsInPiecesAndFindsPrefixes) {
  EngineOptions options;
  options.max_step_tokens = 16;
  auto engine = make_engine(options, pooling_decoder());
  GenerateJob job = job_of_texts(8, 100);
  for (PooledText& text : job.texts) text.tokens = text_of(100, 5);  // all begin alike
  for (std::size_t i = 0; i < job.texts.size(); ++i)
    job.texts[i].tokens.back() = static_cast<int>(i);
  for (int round = 0; round < 2; ++round) {
    auto handle = engine->submit(job);
    ASSERT_TRUE(handle);
    const Answer answer = read_all(*handle);
    expect_all(answer, job, pooling_decoder());
    EXPECT_GE(answer.terminals[0].cached_prompt_tokens, round == 0 ? 0 : 8 * 96);
  }
  EXPECT_TRUE(eventually([&] { return engine->stats().kv_blocks_used == 0; }));
}

TEST(EnginePooling, ADecoderGeneratesBesideIt) {
  const Answer without = run_alone(job_of({1, 2, 3}, 40), pooling_decoder());
  auto engine = make_engine({}, pooling_decoder());
  auto answer = engine->submit(job_of({1, 2, 3}, 40));
  const GenerateJob job = job_of_texts(30, 50);
  auto vectors = engine->submit(job);
  ASSERT_TRUE(answer && vectors);
  expect_all(read_all(*vectors), job, pooling_decoder());
  EXPECT_EQ(read_all(*answer).tokens, without.tokens);
}

TEST(EnginePooling, WhatCannotBePooledIsRefused) {
  auto engine = make_engine({}, encoder());
  const auto code_of = [&](const GenerateJob& job) {
    auto handle = engine->submit(job);
    return handle ? std::string("none") : handle.error().code;
  };
  EXPECT_EQ(code_of(job_of({1, 2}, 4)), "unsupported_model");
  GenerateJob job;
  job.texts = {{text_of(41, 1)}};
  EXPECT_EQ(code_of(job), "context_length_exceeded");
  job.texts = {{{}}};
  EXPECT_EQ(code_of(job), "context_length_exceeded");
  job.texts = {{{1, 64}}};
  EXPECT_EQ(code_of(job), "invalid_value");
  job.texts = {{{1, 2}, 2}};
  EXPECT_EQ(code_of(job), "invalid_value");
  auto decoder = make_engine();
  auto handle = decoder->submit(job_of_texts(1));
  ASSERT_FALSE(handle);
  EXPECT_EQ(handle.error().code, "unsupported_model");
}

TEST(EnginePooling, TheQueueCountsTheTokensOfAllTexts) {
  std::atomic<bool> hold = true;
  FakeOptions fake = encoder();
  fake.before_step = [&](const Batch&, std::uint64_t) { eventually([&] { return !hold; }); };
  EngineOptions options;
  options.max_queued_tokens = 100;
  auto engine = make_engine(options, fake);
  auto first = engine->submit(job_of_texts(1));
  ASSERT_TRUE(first);
  EXPECT_TRUE(eventually([&] { return engine->stats().queued_tokens == 0; }));
  auto second = engine->submit(job_of_texts(13));  // 1 + 2 + ... + 13 = 91
  ASSERT_TRUE(second);
  EXPECT_EQ(engine->stats().queued_tokens, 91);
  auto third = engine->submit(job_of_texts(4));
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().status, 429);
  hold = false;
  EXPECT_TRUE(read_all(*second).completed());
  EXPECT_EQ(engine->stats().queued_tokens, 0);
}

TEST(EnginePooling, ACancelledRequestLetsItsTextsGo) {
  std::atomic<bool> hold = true;
  FakeOptions fake = encoder();
  fake.before_step = [&](const Batch&, std::uint64_t) { eventually([&] { return !hold; }); };
  EngineOptions options;
  options.max_step_tokens = 64;
  auto engine = make_engine(options, fake);
  auto handle = engine->submit(job_of_texts(500));
  ASSERT_TRUE(handle);
  handle->cancel();
  hold = false;
  EXPECT_EQ(read_all(*handle).terminals.at(0).outcome, Outcome::cancelled);
  EXPECT_TRUE(eventually([&] { return engine->stats().live_requests == 0; }));
  EXPECT_EQ(engine->stats().running_sequences, 0);
  auto next = engine->submit(job_of_texts(3));
  ASSERT_TRUE(next);
  EXPECT_TRUE(read_all(*next).completed());
}

TEST(EnginePooling, ALateRequestIsToldSo) {
  std::atomic<bool> hold = true;
  FakeOptions fake = encoder();
  fake.before_step = [&](const Batch&, std::uint64_t) { eventually([&] { return !hold; }); };
  auto engine = make_engine({}, fake);
  GenerateJob job = job_of_texts(500);
  job.deadline = Clock::now();
  auto handle = engine->submit(job);
  ASSERT_TRUE(handle);
  hold = false;
  EXPECT_EQ(read_all(*handle).error_code(), "timeout");
}

TEST(EnginePooling, AFaultCostsTheRequestWhoseTextCausesIt) {
  FakeOptions fake = encoder();
  fake.before_step = [](const Batch& batch, std::uint64_t) {
    if (std::ranges::count(batch.tokens, 63) > 0) throw std::runtime_error("no such row");
  };
  auto engine = make_engine({}, fake);
  GenerateJob bad, good = job_of_texts(20);
  for (PooledText& text : good.texts) std::ranges::replace(text.tokens, 63, 62);
  bad.texts = {{{1, 2}}, {{63}}};
  auto first = engine->submit(bad);
  auto second = engine->submit(good);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(read_all(*first).error_code(), "internal_error");
  expect_all(read_all(*second), good, encoder());
  EXPECT_TRUE(engine->stats().healthy);
}

TEST(EnginePooling, AnEncoderThatFailsAtEveryStepIsUnhealthyUntilOneWorks) {
  std::atomic<bool> broken = true;
  FakeOptions fake = encoder();
  fake.before_step = [&](const Batch&, std::uint64_t) {
    if (broken) throw std::runtime_error("gone");
  };
  auto engine = make_engine({}, fake);
  for (int i = 0; i < 3; ++i) {
    auto handle = engine->submit(job_of_texts(1));
    if (handle) read_all(*handle);
  }
  EXPECT_TRUE(eventually([&] { return !engine->stats().healthy; }));
  broken = false;
  EXPECT_TRUE(eventually([&] { return engine->stats().healthy; }));
  auto handle = engine->submit(job_of_texts(2));
  ASSERT_TRUE(handle);
  EXPECT_TRUE(read_all(*handle).completed());
}

}  // namespace
}  // namespace mlxd::testing
