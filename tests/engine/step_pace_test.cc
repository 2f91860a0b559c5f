#include "engine/step_pace.h"

#include <gtest/gtest.h>

namespace mlxd {
namespace {

TEST(StepPace, DoublesUntilAStepTakesTheWantedTime) {
  StepPace pace(0.5, 512);
  EXPECT_EQ(pace.rows(0), 64);
  pace.observe(0.01, 64, 0);
  EXPECT_EQ(pace.rows(0), 128);
  pace.observe(0.64, 128, 0);  // 5 ms a row
  EXPECT_EQ(pace.rows(0), 100);
}

TEST(StepPace, KeepsWhatItLearntThroughShortPromptsAndDecoding) {
  StepPace pace(0.5, 512);
  for (int i = 0; i < 5; ++i) pace.observe(0.01, pace.rows(0), 0);
  ASSERT_EQ(pace.rows(0), 512);
  pace.observe(0.001, 5, 0);
  EXPECT_EQ(pace.rows(0), 512);
  pace.observe(3, 16, 16);  // slow, but no prompt
  EXPECT_EQ(pace.rows(0), 512);
}

TEST(StepPace, BesideDecodingSequencesAPromptGetsAFractionOfTheirStep) {
  StepPace pace(0.5, 512);
  for (int i = 0; i < 5; ++i) pace.observe(0.0005 * pace.rows(0), pace.rows(0), 0);
  for (int i = 0; i < 20; ++i) pace.observe(0.010, 8, 8);
  // 15 ms more than 10 ms, at half a millisecond a row.
  EXPECT_NEAR(pace.rows(8), 8 + 30, 1);
  EXPECT_EQ(pace.rows(0), 512);
}

TEST(StepPace, LearnsWhatARowCostsFromMixedSteps) {
  StepPace pace(0.5, 512);
  pace.observe(0.064, 64, 0);
  for (int i = 0; i < 20; ++i) pace.observe(0.010, 8, 8);
  for (int i = 0; i < 60; ++i) {  // 2 ms a row, as it is far into a long prompt
    const int rows = pace.rows(8);
    pace.observe(0.010 + 0.002 * (rows - 8), rows, 8);
  }
  EXPECT_NEAR(pace.rows(8), 8 + 7, 2);
}

}  // namespace
}  // namespace mlxd
