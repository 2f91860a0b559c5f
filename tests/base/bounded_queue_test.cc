#include "base/bounded_queue.h"

#include <memory>
#include <thread>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

TEST(BoundedQueue, RefusesWhatExceedsItsCapacityAndLeavesItUntouched) {
  BoundedQueue<std::unique_ptr<int>> queue(2);
  EXPECT_TRUE(queue.try_push(std::make_unique<int>(1)));
  EXPECT_TRUE(queue.try_push(std::make_unique<int>(2)));
  auto third = std::make_unique<int>(3);
  EXPECT_FALSE(queue.try_push(std::move(third)));
  EXPECT_TRUE(third);
  const auto items = queue.drain();
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(*items[1], 2);
  EXPECT_TRUE(queue.try_push(std::move(third)));
}

TEST(BoundedQueue, TakesNothingOnceClosedAndKeepsWhatItHas) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.try_push(1));
  queue.close();
  EXPECT_FALSE(queue.try_push(2));
  EXPECT_EQ(queue.drain(), std::vector<int>{1});
}

TEST(BoundedQueue, AWakeBeforeTheWaitIsNotLost) {
  BoundedQueue<int> queue(2);
  queue.wake();
  const TimePoint before = Clock::now();
  queue.wait_until(before + std::chrono::seconds(60));
  EXPECT_LT(seconds_between(before, Clock::now()), 30);
  queue.wait_until(Clock::now() + std::chrono::milliseconds(1));  // and counts once
}

TEST(BoundedQueue, WaitsForAnItemWithoutEnd) {
  BoundedQueue<int> queue(2);
  std::thread producer([&queue] { (void)queue.try_push(7); });
  queue.wait_until(TimePoint::max());
  EXPECT_EQ(queue.drain(), std::vector<int>{7});
  producer.join();
}

TEST(BoundedQueue, LosesAndRepeatsNothingOfManyProducers) {
  BoundedQueue<int> queue(10);
  std::vector<std::thread> producers;
  for (int p = 0; p < 4; ++p) {
    producers.emplace_back([&queue, p] {
      for (int i = 0; i < 300; ++i) {
        while (!queue.try_push(p * 300 + i)) std::this_thread::yield();
      }
    });
  }
  std::vector<int> seen(1200, 0);
  std::vector<int> last(4, -1);
  for (int count = 0; count < 1200;) {
    queue.wait_until(Clock::now() + std::chrono::seconds(60));
    for (const int item : queue.drain()) {
      ++seen[item];
      ++count;
      EXPECT_LT(last[item / 300], item) << "each producer's items keep their order";
      last[item / 300] = item;
    }
  }
  for (std::thread& producer : producers) producer.join();
  EXPECT_EQ(seen, std::vector<int>(1200, 1));
}

}  // namespace
}  // namespace mlxd
