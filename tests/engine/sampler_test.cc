#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

std::vector<float> random_logits(int size, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// The probabilities that SamplingParams define, by a full sort in double precision.
std::map<int, double> reference_distribution(const std::vector<float>& raw,
                                             const SamplingParams& params,
                                             const std::map<int, TokenCounts::Count>& counts) {
  std::vector<double> logits(raw.begin(), raw.end());
  for (const LogitBias& bias : params.logit_bias) logits[bias.token] += bias.bias;
  for (const auto& [token, count] : counts) {
    double& logit = logits[token];
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    if (count.in_output > 0) {
      logit -= params.presence_penalty + params.frequency_penalty * count.in_output;
    }
  }
  std::vector<std::pair<double, int>> order;  // (-logit, token)
  for (int i = 0; i < static_cast<int>(logits.size()); ++i) order.emplace_back(-logits[i], i);
  std::sort(order.begin(), order.end());
  if (params.temperature == 0) return {{order[0].second, 1}};
  if (params.top_k > 0 && params.top_k < static_cast<int>(order.size())) order.resize(params.top_k);
  std::vector<double> weights;
  double total = 0;
  for (const auto& [negative, token] : order) {
    weights.push_back(std::exp((order[0].first - negative) / params.temperature));
    total += weights.back();
  }
  std::map<int, double> kept;
  double before = 0, kept_total = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (params.top_p < 1 && before >= params.top_p * total) break;
    before += weights[i];
    if (weights[i] < params.min_p) break;
    kept[order[i].second] = weights[i];
    kept_total += weights[i];
  }
  for (auto& [token, weight] : kept) weight /= kept_total;
  return kept;
}

std::map<int, double> drawn_frequencies(std::vector<float> logits, const SamplingParams& params,
                                        const TokenCounts& counts, int draws) {
  Sampler sampler;
  std::map<int, double> frequencies;
  for (int i = 0; i < draws; ++i) {
    Draw request;
    request.params = &params;
    request.counts = &counts;
    request.index = i;
    const auto drawn = sampler.draw(logits, request);
    EXPECT_TRUE(drawn);
    if (drawn) frequencies[drawn->token] += 1.0 / draws;
  }
  return frequencies;
}

struct Case {
  const char* name;
  SamplingParams params;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const char* name, auto edit) {
    SamplingParams params;
    edit(params);
    all.push_back({name, params});
  };
  add("plain", [](auto&) {});
  add("cold", [](auto& p) { p.temperature = 0.3f; });
  add("hot", [](auto& p) { p.temperature = 2; });
  add("top_k", [](auto& p) { p.top_k = 5; });
  add("top_p", [](auto& p) { p.top_p = 0.7f; });
  add("tiny top_p", [](auto& p) { p.top_p = 1e-6f; });
  add("min_p", [](auto& p) { p.min_p = 0.1f; });
  add("min_p one", [](auto& p) { p.min_p = 1; });
  add("top_k then top_p", [](auto& p) { p.top_k = 8, p.top_p = 0.6f; });
  add("all three", [](auto& p) { p.top_k = 20, p.top_p = 0.9f, p.min_p = 0.05f; });
  add("hot top_p min_p", [](auto& p) { p.temperature = 1.7f, p.top_p = 0.95f, p.min_p = 0.02f; });
  add("bias", [](auto& p) { p.logit_bias = {{3, 100}, {4, -100}, {7, 2}}, p.top_p = 0.99f; });
  add("penalties", [](auto& p) {
    p.repetition_penalty = 1.3f, p.presence_penalty = 0.5f, p.frequency_penalty = 0.7f;
  });
  add("greedy with penalties",
      [](auto& p) { p.temperature = 0, p.repetition_penalty = 1.8f, p.frequency_penalty = 2; });
  return all;
}

TEST(Sampler, DrawsFromTheDistributionThatTheParametersDefine) {
  constexpr int kDraws = 20000;
  for (const int size : {50, 1000}) {
    for (const auto& [name, params] : cases()) {
      const auto logits = random_logits(size, size);
      TokenCounts counts;
      counts.add_prompt(std::vector<int>{1, 2, 3});
      for (const int token : {3, 5, 5, 5, 9}) counts.add_output(token);
      const std::map<int, TokenCounts::Count> by_token(counts.counts().begin(),
                                                       counts.counts().end());
      const auto expected = reference_distribution(logits, params, by_token);
      const auto found = drawn_frequencies(logits, params, counts, kDraws);
      for (const auto& [token, frequency] : found) {
        ASSERT_TRUE(expected.contains(token)) << name << ": token " << token << " was cut off";
      }
      for (const auto& [token, probability] : expected) {
        const double frequency = found.contains(token) ? found.at(token) : 0;
        const double sigma = std::sqrt(probability * (1 - probability) / kDraws);
        EXPECT_NEAR(frequency, probability, 5 * sigma + 1e-4) << name << ": token " << token;
      }
    }
  }
}

TEST(Sampler, GreedyTakesTheLowestTokenOnATie) {
  std::vector<float> logits(300, 0);
  logits[77] = logits[200] = logits[76 + 64] = 5;
  SamplingParams params;
  params.temperature = 0;
  TokenCounts counts;
  Sampler sampler;
  Draw request;
  request.params = &params;
  request.counts = &counts;
  EXPECT_EQ(sampler.draw(logits, request)->token, 77);
}

TEST(Sampler, NeverDrawsAForbiddenToken) {
  auto logits = random_logits(20, 4);
  SamplingParams params;
  TokenCounts counts;
  Sampler sampler;
  std::vector<int> forbidden;
  for (int token = 0; token < 20; ++token) {
    if (token != 11) forbidden.push_back(token);
  }
  for (const float temperature : {0.0f, 1.0f}) {
    params.temperature = temperature;
    const Draw request{.params = &params, .counts = &counts, .forbidden = forbidden};
    EXPECT_EQ(sampler.draw(logits, request)->token, 11);
  }
}

// 150 tokens: the last block of the row, and the last word of the mask, are not whole.
TEST(Sampler, DrawsFromTheAllowedTokensAsIfThereWereNoOthers) {
  const std::vector<float> logits = random_logits(150, 3);
  std::vector<std::uint32_t> allowed((logits.size() + 31) / 32, 0);
  std::vector<int> kept;
  std::vector<float> dense;
  std::mt19937 random(5);
  for (int token = 0; token < 150; ++token) {
    if (random() % 3 != 0) continue;
    allowed[token / 32] |= 1u << token % 32;
    kept.push_back(token);
    dense.push_back(logits[token]);
  }
  for (const auto& [name, params] : cases()) {
    if (!params.logit_bias.empty()) continue;  // names tokens
    SCOPED_TRACE(name);
    TokenCounts counts, dense_counts;
    for (std::size_t i = 0; i < kept.size(); i += 4) {
      counts.add_output(kept[i]);
      dense_counts.add_output(static_cast<int>(i));
    }
    const auto expected = reference_distribution(dense, params, [&] {
      std::map<int, TokenCounts::Count> map;
      for (const auto& [token, count] : dense_counts.counts()) map[token] = count;
      return map;
    }());
    std::vector<float> row = logits;
    Sampler sampler;
    std::map<int, double> frequencies;
    constexpr int kDraws = 4000;
    for (int i = 0; i < kDraws; ++i) {
      Draw wanted;
      wanted.params = &params;
      wanted.counts = &counts;
      wanted.allowed = allowed;
      wanted.index = i;
      const auto drawn = sampler.draw(row, wanted);
      ASSERT_TRUE(drawn);
      const auto place = std::ranges::find(kept, drawn->token);
      ASSERT_NE(place, kept.end()) << drawn->token << " is not allowed";
      frequencies[static_cast<int>(place - kept.begin())] += 1.0 / kDraws;
    }
    EXPECT_EQ(row, logits) << "the logits are put back";
    for (const auto& [token, frequency] : frequencies) {
      ASSERT_TRUE(expected.contains(token));
      EXPECT_NEAR(frequency, expected.at(token), 0.04);
    }
  }
}

TEST(Sampler, LogprobsOfAnAllowedTokenAreThoseWithoutAMask) {
  std::vector<float> logits = random_logits(100, 4);
  std::vector<std::uint32_t> allowed{0, 1u << 5, 0, 0};
  SamplingParams params;
  params.logprobs = true;
  params.top_logprobs = 3;
  Sampler sampler;
  Draw wanted;
  wanted.params = &params;
  wanted.allowed = allowed;
  const auto drawn = sampler.draw(logits, wanted);
  ASSERT_TRUE(drawn);
  EXPECT_EQ(drawn->token, 37);
  const auto score = sampler.score(logits, 37, 3);
  EXPECT_EQ(drawn->logprob, score->logprob);
  ASSERT_EQ(drawn->top.size(), 3u);
  EXPECT_EQ(drawn->top[0].token, score->top[0].token);
}

TEST(Sampler, AMaskOfNothingLeavesNothingToDrawWhateverThePenalties) {
  std::vector<float> logits = random_logits(100, 4);
  const std::vector<std::uint32_t> allowed(4, 0);
  SamplingParams params;
  params.presence_penalty = 1;
  TokenCounts counts;
  counts.add_output(3);
  Sampler sampler;
  Draw wanted;
  wanted.params = &params;
  wanted.counts = &counts;
  wanted.allowed = allowed;
  EXPECT_FALSE(sampler.draw(logits, wanted));
}

TEST(Sampler, SaysSoWhenNothingIsLeftToDraw) {
  auto logits = random_logits(3, 4);
  SamplingParams params;
  TokenCounts counts;
  const std::vector<int> all{0, 1, 2};
  const Draw request{.params = &params, .counts = &counts, .forbidden = all};
  const auto drawn = Sampler().draw(logits, request);
  ASSERT_FALSE(drawn);
  EXPECT_EQ(drawn.error().status, 500);
}

TEST(Sampler, RefusesLogitsThatAreNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    auto logits = random_logits(100, 4);
    logits[70] = bad;
    SamplingParams params;
    TokenCounts counts;
    EXPECT_FALSE(Sampler().draw(logits, {.params = &params, .counts = &counts}));
    EXPECT_FALSE(Sampler().score(logits, 3, 2));
  }
}

TEST(Sampler, TheSmallestAndTheLargestPenaltyLeaveATokenToDraw) {
  for (const float penalty :
       {std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::max()}) {
    auto logits = random_logits(100, 4);
    SamplingParams params;
    params.repetition_penalty = penalty;
    TokenCounts counts;
    for (int token = 0; token < 100; ++token) counts.add_output(token);
    EXPECT_TRUE(Sampler().draw(logits, {.params = &params, .counts = &counts})) << penalty;
  }
}

TEST(Sampler, LogprobsAreOfTheModelsOwnDistributionWhateverIsAdjusted) {
  auto logits = random_logits(500, 8);
  const auto before = logits;
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  SamplingParams params;
  params.logprobs = true;
  params.top_logprobs = 20;
  params.temperature = 0.5f;
  params.logit_bias = {{123, 100}};
  params.repetition_penalty = 2;
  TokenCounts counts;
  counts.add_output(123);
  Sampler sampler;
  const auto drawn = sampler.draw(logits, {.params = &params, .counts = &counts});
  ASSERT_TRUE(drawn);
  EXPECT_EQ(drawn->token, 123);
  EXPECT_NEAR(drawn->logprob, before[123] - std::log(total), 1e-4);
  ASSERT_EQ(drawn->top.size(), 20u);
  EXPECT_EQ(drawn->top[0].token, std::max_element(before.begin(), before.end()) - before.begin());
  for (int i = 1; i < 20; ++i) EXPECT_GE(drawn->top[i - 1].logprob, drawn->top[i].logprob);
  EXPECT_EQ(logits, before) << "the row is put back for the next sample that draws from it";
}

TEST(Sampler, TopLogprobsPreferTheLowerTokenOnATie) {
  std::vector<float> logits(200, 1);
  logits[150] = 2;
  const auto score = Sampler().score(logits, 150, 3);
  ASSERT_TRUE(score);
  EXPECT_EQ(score->top[0].token, 150);
  EXPECT_EQ(score->top[1].token, 0);
  EXPECT_EQ(score->top[2].token, 1);
}

TEST(Sampler, ExtremeTemperaturesNeitherTrapNorLeaveTheVocabulary) {
  for (const float temperature : {1e-38f, 1e-10f, 1e-4f, 1e10f}) {
    for (const float top_p : {1.0f, 0.5f, 1e-30f}) {
      auto logits = random_logits(100, 5);
      logits[5] = 3e38f;
      logits[6] = -3e38f;
      SamplingParams params;
      params.temperature = temperature;
      params.top_p = top_p;
      TokenCounts counts;
      const auto drawn = Sampler().draw(logits, {.params = &params, .index = 3, .counts = &counts});
      ASSERT_TRUE(drawn);
      EXPECT_GE(drawn->token, 0);
      EXPECT_LT(drawn->token, 100);
    }
  }
}

}  // namespace
}  // namespace mlxd
