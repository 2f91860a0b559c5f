#include "engine/logit_row.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

std::vector<float> random_logits(int size, unsigned seed, bool coarse = false) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = coarse ? std::round(normal(random)) : normal(random);
  return logits;
}

std::vector<const LogitKernels*> runnable_kernels() {
  std::vector<const LogitKernels*> kernels{&kPortableLogitKernels};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) kernels.push_back(&kAvx2LogitKernels);
  if (__builtin_cpu_supports("avx512f")) kernels.push_back(&kAvx512LogitKernels);
#endif
  return kernels;
}

std::vector<int> sorted_ids(const std::vector<float>& logits) {
  std::vector<int> ids(logits.size());
  for (int i = 0; i < static_cast<int>(ids.size()); ++i) ids[i] = i;
  std::stable_sort(ids.begin(), ids.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  return ids;
}

TEST(LogitRow, FindsTheLowestTokenOfTheLargestLogit) {
  for (const int size : {1, 2, 63, 64, 65, 130, 1000}) {
    for (unsigned seed = 0; seed < 50; ++seed) {
      auto logits = random_logits(size, seed, /*coarse=*/true);
      LogitRow row;
      ASSERT_TRUE(row.load(logits));
      EXPECT_EQ(row.argmax(), std::max_element(logits.begin(), logits.end()) - logits.begin());
    }
  }
}

TEST(LogitRow, RefusesWhatIsNotFiniteWhereverItStands) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    for (const int place : {0, 17, 63, 64, 99, 129}) {
      for (const LogitKernels* kernels : runnable_kernels()) {
        auto logits = random_logits(130, 1);
        logits[place] = bad;
        LogitRow row(*kernels);
        EXPECT_FALSE(row.load(logits));
      }
    }
  }
}

TEST(LogitRow, GivesTheLargestWithTheLowerTokenFirstOnATie) {
  for (const int size : {5, 64, 200, 5000}) {
    for (const int count : {1, 2, 20, 64, 300}) {
      auto logits = random_logits(size, size + count, /*coarse=*/true);
      LogitRow row;
      ASSERT_TRUE(row.load(logits));
      std::vector<Candidate> found;
      row.largest(count, found);
      std::set<int> tokens;
      for (const Candidate& candidate : found) tokens.insert(candidate.token);
      const auto ids = sorted_ids(logits);
      EXPECT_EQ(tokens, std::set<int>(ids.begin(), ids.begin() + std::min(count, size)));
    }
  }
}

TEST(LogitRow, SumsTheExponentialsAsDoublesDo) {
  for (const float scale : {0.1f, 1.0f, 5.0f}) {
    auto logits = random_logits(10007, 3);
    LogitRow row;
    ASSERT_TRUE(row.load(logits));
    double expected = 0;
    for (const float logit : logits) {
      expected += std::exp(static_cast<double>(scale) * (logit - row.maximum()));
    }
    EXPECT_NEAR(row.weigh(scale) / expected, 1, 3e-6);
  }
}

TEST(LogitRow, EveryInstructionSetGivesTheSameBits) {
  auto logits = random_logits(64 * 50, 9);
  std::vector<float> maxima(50), sums(50), weights(64 * 50);
  kPortableLogitKernels.maxima(logits.data(), 50, maxima.data());
  const float top = *std::max_element(maxima.begin(), maxima.end());
  kPortableLogitKernels.exponentials(logits.data(), 50, top, 1.7f, sums.data(), weights.data());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    ASSERT_EQ(weights[i], exp2_nonpositive((logits[i] - top) * 1.7f));
  }
  const auto mass = kPortableLogitKernels.at_least(weights.data(), 50, 1e-4f);
  for (const LogitKernels* kernels : runnable_kernels()) {
    std::vector<float> other_maxima(50), other_sums(50), other_weights(64 * 50);
    kernels->maxima(logits.data(), 50, other_maxima.data());
    kernels->exponentials(logits.data(), 50, top, 1.7f, other_sums.data(), other_weights.data());
    EXPECT_EQ(maxima, other_maxima);
    EXPECT_EQ(sums, other_sums);
    EXPECT_EQ(weights, other_weights);
    const auto other_mass = kernels->at_least(weights.data(), 50, 1e-4f);
    EXPECT_EQ(mass.mass, other_mass.mass);
    EXPECT_EQ(mass.count, other_mass.count);
  }
}

TEST(LogitRow, EveryInstructionSetMasksTheSameTokens) {
  for (const int size : {1, 31, 64, 65, 100, 1000}) {
    const auto logits = random_logits(size, size);
    std::mt19937 random(size);
    std::vector<std::uint32_t> allowed((size + 31) / 32);
    for (auto& word : allowed) word = random();
    allowed[0] |= 1;
    for (const LogitKernels* kernels : runnable_kernels()) {
      auto row_logits = logits;
      LogitRow row(*kernels);
      ASSERT_TRUE(row.load(row_logits));
      row.mask(allowed);
      float largest = -std::numeric_limits<float>::infinity();
      for (int token = 0; token < size; ++token) {
        const bool inside = (allowed[token / 32] >> token % 32 & 1) != 0;
        ASSERT_EQ(row[token], inside ? logits[token] : -std::numeric_limits<float>::infinity());
        largest = std::max(largest, row[token]);
      }
      EXPECT_EQ(row.maximum(), largest);
      EXPECT_EQ(row_logits, logits) << "the logits themselves stay";
    }
  }
}

TEST(LogitRow, TheHeaviestContainTheNucleusAndNotMuchMore) {
  for (const int size : {10, 1000, 50000}) {
    for (const double part : {0.1, 0.5, 0.9, 0.99, 0.999999}) {
      auto logits = random_logits(size, size);
      LogitRow row;
      ASSERT_TRUE(row.load(logits));
      const double sum = row.weigh(1, /*keep_weights=*/true);
      std::vector<Candidate> found;
      row.heaviest(part * sum, sum, found);
      double mass = 0;
      float lightest = 1;
      std::set<int> tokens;
      for (const Candidate& candidate : found) {
        mass += candidate.weight;
        lightest = std::min(lightest, candidate.weight);
        tokens.insert(candidate.token);
      }
      EXPECT_GE(mass, part * sum * (1 - 1e-6));
      for (int token = 0; token < size; ++token) {
        const double weight = std::exp(static_cast<double>(logits[token]) - row.maximum());
        EXPECT_TRUE(weight <= lightest * 1.001 || tokens.contains(token)) << token;
      }
      EXPECT_TRUE(found.size() <= 4096 || mass - part * sum < 0.1 * sum);
    }
  }
}

}  // namespace
}  // namespace mlxd
