#include "model/rope.h"

#include <vector>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

// The expected numbers are those of mlx-lm 0.29.1, models/rope_utils.py: 1 / Llama3RoPE._freqs and
// 1 / YarnRoPE._freqs, for Llama 3.2's and Qwen2.5's published settings.
struct Expected {
  std::size_t pair;
  float frequency;
};

void expect_frequencies(const Rope& rope, const std::vector<Expected>& expected) {
  for (const auto& [pair, frequency] : expected) {
    EXPECT_NEAR(rope.inverse_frequencies.at(pair) / frequency, 1, 2e-6) << "pair " << pair;
  }
}

TEST(Rope, WithoutScalingFallsGeometrically) {
  const Rope rope = make_rope({.theta = 10000, .dimensions = 64});
  ASSERT_EQ(rope.inverse_frequencies.size(), 32u);
  EXPECT_FLOAT_EQ(rope.inverse_frequencies[0], 1);
  EXPECT_FLOAT_EQ(rope.inverse_frequencies[16], 0.01f);
  EXPECT_FLOAT_EQ(rope.magnitude, 1);
}

TEST(Rope, LinearScalingDividesEveryFrequency) {
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::linear;
  scaling.factor = 8;
  const Rope plain = make_rope({.theta = 10000, .dimensions = 64}),
             rope = make_rope({.theta = 10000, .dimensions = 64, .scaling = scaling});
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_FLOAT_EQ(rope.inverse_frequencies[i], plain.inverse_frequencies[i] / 8);
  }
}

TEST(Rope, StoredDivisorsDivide) {
  const std::vector<float> divisors = {1, 2, 4, 8};
  const Rope plain = make_rope({.theta = 10000, .dimensions = 8});
  const Rope rope = make_rope({.theta = 10000, .dimensions = 8, .divisors = divisors});
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(rope.inverse_frequencies[i], plain.inverse_frequencies[i] / divisors[i]);
  }
}

TEST(Rope, Llama3ScalesAsMlxLmDoes) {
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::llama3;
  scaling.factor = 32;
  scaling.low_frequency_factor = 1;
  scaling.high_frequency_factor = 4;
  scaling.original_context_length = 8192;
  const Rope rope = make_rope({.theta = 500000, .dimensions = 64, .scaling = scaling});
  expect_frequencies(rope, {{0, 1.0f},
                            {10, 0.01656044f},
                            {14, 0.003211446f},
                            {15, 0.001290548f},
                            {16, 0.0004295567f},
                            {17, 9.708286e-05f},
                            {18, 1.946164e-05f},
                            {20, 8.570256e-06f},
                            {31, 9.418307e-08f}});
  EXPECT_FLOAT_EQ(rope.magnitude, 1);
}

TEST(Rope, YarnScalesAsMlxLmDoes) {
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::yarn;
  scaling.factor = 4;
  scaling.original_context_length = 32768;
  const Rope rope = make_rope({.theta = 1000000, .dimensions = 128, .scaling = scaling});
  expect_frequencies(rope, {{0, 1.0f},
                            {20, 0.01333521f},
                            {23, 0.006978306f},
                            {24, 0.005375321f},
                            {30, 0.001064361f},
                            {35, 0.0002462584f},
                            {39, 6.490395e-05f},
                            {40, 4.445699e-05f},
                            {63, 3.102344e-07f}});
  EXPECT_FLOAT_EQ(rope.magnitude, 1.138629436f);  // 0.1 ln 4 + 1
}

// gpt-oss: of 32 pairs those from 8.09 to 17.40 pass over, and not those from 8 to 18.
TEST(Rope, YarnPassesOverBetweenBoundsThatNeedNotBeWhole) {
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::yarn;
  scaling.factor = 32;
  scaling.original_context_length = 4096;
  scaling.whole_bounds = false;
  const Rope rope = make_rope({.theta = 150000, .dimensions = 64, .scaling = scaling});
  expect_frequencies(rope, {{0, 1.0f},
                            {8, 0.05081327f},
                            {9, 0.0317057f},
                            {13, 0.003860359f},
                            {17, 0.0001293187f},
                            {18, 3.830881e-05f},
                            {31, 3.023511e-07f}});
}

}  // namespace
}  // namespace mlxd
