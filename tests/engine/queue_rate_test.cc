#include "engine/queue_rate.h"

#include <gtest/gtest.h>

namespace mlxd {
namespace {

TimePoint at(double seconds) {
  return TimePoint(
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1000 + seconds)));
}

TEST(QueueRate, TellsHowLongAQuarterOfTheQueueWillTakeAtTheMeasuredRate) {
  QueueRate rate;
  for (int i = 0; i < 100; ++i) rate.left(at(0.5 * i), 10, 40);
  EXPECT_EQ(rate.retry_after(at(49.5), 40, 400), 5);
}

TEST(QueueRate, TellsHowLongTheTokensOfAQuarterTakeWhereTheyAreMoreThanUsual) {
  QueueRate rate;
  for (int i = 0; i < 100; ++i) rate.left(at(0.5 * i), 100, 8);  // 200 tokens a second
  EXPECT_EQ(rate.retry_after(at(49.5), 8, 800), 1);
  EXPECT_EQ(rate.retry_after(at(49.5), 8, 16'000), 20);
  EXPECT_EQ(rate.retry_after(at(49.5), 1, 4000), 20) << "one request leaves as a whole";
  EXPECT_EQ(rate.retry_after(at(49.5), 80, 80), 10) << "short prompts still take their places";
}

TEST(QueueRate, CountsTheTimeAfterADepartureAsThatRequests) {
  QueueRate rate;
  for (int i = 0; i < 200; i += 2) {  // a long prompt delays the next one
    rate.left(at(i), 1000, 9);
    rate.left(at(i + 1.9), 10, 9);
  }
  EXPECT_NEAR(rate.retry_after(at(199.9), 4, 4 * 505), 1, 1);
  EXPECT_NEAR(rate.retry_after(at(199.9), 4, 4 * 5050), 10, 2);
}

TEST(QueueRate, GrowsWhileNothingLeavesTheQueue) {
  QueueRate rate;
  for (int i = 0; i < 100; ++i) rate.left(at(0.5 * i), 10, 4);
  EXPECT_EQ(rate.retry_after(at(49.5 + 20), 4, 40), 20);
}

TEST(QueueRate, IgnoresTimeInWhichNobodyWaited) {
  QueueRate rate;
  rate.left(at(0), 10, 1);
  rate.left(at(2), 10, 0);
  rate.left(at(500), 10, 3);
  EXPECT_EQ(rate.retry_after(at(500), 4, 40), 2);
}

TEST(QueueRate, IsOneSecondBeforeAnythingWasMeasured) {
  EXPECT_EQ(QueueRate().retry_after(at(0), 256, 100'000), 1);
}

}  // namespace
}  // namespace mlxd
