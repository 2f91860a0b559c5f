#include "engine/step_pace.h"

#include <gtest/gtest.h>

namespace mlxd {
namespace {

TEST(StepPace, DoublesUntilAStepTakesTheWantedTime) {
  StepPace pace(0.5, 512);
  EXPECT_EQ(pace.rows(0, 0), 64);
  pace.observe(0.01, 64, 0);
  EXPECT_EQ(pace.rows(0, 0), 128);
  pace.observe(0.64, 128, 0);  // 5 ms a row
  EXPECT_EQ(pace.rows(0, 0), 100);
}

TEST(StepPace, KeepsWhatItLearntThroughShortPromptsAndDecoding) {
  StepPace pace(0.5, 512);
  for (int i = 0; i < 5; ++i) pace.observe(0.01, pace.rows(0, 0), 0);
  ASSERT_EQ(pace.rows(0, 0), 512);
  pace.observe(0.001, 5, 0);
  EXPECT_EQ(pace.rows(0, 0), 512);
  pace.observe(3, 16, 16);  // slow, but no prompt
  EXPECT_EQ(pace.rows(0, 0), 512);
}

TEST(StepPace, BesideDecodingSequencesAPromptGetsAFractionOfTheirStep) {
  StepPace pace(0.5, 512);
  for (int i = 0; i < 5; ++i) pace.observe(0.0005 * pace.rows(0, 0), pace.rows(0, 0), 0);
  for (int i = 0; i < 20; ++i) pace.observe(0.010, 8, 8);
  // 15 ms more than 10 ms, at half a millisecond a row.
  EXPECT_NEAR(pace.rows(8, 0), 8 + 30, 1);
  EXPECT_EQ(pace.rows(0, 0), 512);
}

TEST(StepPace, LearnsWhatARowCostsFromMixedSteps) {
  StepPace pace(0.5, 512);
  pace.observe(0.064, 64, 0);
  for (int i = 0; i < 20; ++i) pace.observe(0.010, 8, 8);
  for (int i = 0; i < 60; ++i) {  // 2 ms a row, as it is far into a long prompt
    const int rows = pace.rows(8, 0);
    pace.observe(0.010 + 0.002 * (rows - 8), rows, 8);
  }
  EXPECT_NEAR(pace.rows(8, 0), 8 + 7, 2);
}

TEST(StepPace, WhenMoreWaitThanDecodeAStepMayBeTwiceAsLong) {
  StepPace pace(0.5, 512);
  for (int i = 0; i < 5; ++i) pace.observe(0.0005 * pace.rows(0, 0), pace.rows(0, 0), 0);
  for (int i = 0; i < 20; ++i) pace.observe(0.010, 8, 8);
  EXPECT_NEAR(pace.rows(8, 8), 8 + 30, 1);    // 2.5 times 10 ms
  EXPECT_NEAR(pace.rows(8, 12), 8 + 55, 1);   // 3.75 times
  EXPECT_NEAR(pace.rows(8, 500), 8 + 80, 1);  // 5 times
}

// Under a standing queue each step has rows of prompts, so that the last step without was one of
// few sequences.
TEST(StepPace, KnowsWhatAStepOfMoreSequencesCostsThanItHasSeenAlone) {
  const auto seconds = [](int decoding, int prompt) {
    return 0.004 + 0.0005 * (decoding + prompt);
  };
  StepPace pace(0.5, 512);
  for (int i = 0; i < 5; ++i) pace.observe(seconds(0, 64), 64, 0);
  for (int i = 0; i < 20; ++i) pace.observe(seconds(1, 0), 1, 1);
  for (int i = 0; i < 50; ++i) {
    const int rows = pace.rows(16, 0);
    pace.observe(seconds(16, rows - 16), rows, 16);
  }
  const double step = seconds(16, pace.rows(16, 0) - 16);
  EXPECT_NEAR(step / seconds(16, 0), StepPace::kSlowdown, 0.2);
}

// Its weights alone take twice the wanted time to read.
TEST(StepPace, ALargeModelDoesNotReadItsPromptsRowByRow) {
  const auto seconds = [](int rows) { return 1.0 + 0.002 * rows; };
  StepPace pace(0.5, 512);
  int rows = 0;
  for (int i = 0; i < 12; ++i) {
    rows = pace.rows(0, 0);
    pace.observe(seconds(rows), rows, 0);
  }
  EXPECT_NEAR(seconds(rows), 2 * seconds(0), 0.1);
}

TEST(StepPace, RecoversFromATimeInWhichEveryStepWasSlow) {
  StepPace pace(0.5, 512);
  for (int i = 0; i < 20; ++i) pace.observe(1 + 0.001 * i, pace.rows(4, 4), 4);
  for (int i = 0; i < 40; ++i) {
    const int rows = pace.rows(0, 0);
    pace.observe(0.001 * rows, rows, 0);
  }
  EXPECT_NEAR(pace.rows(0, 0), 500, 20);
}

}  // namespace
}  // namespace mlxd
