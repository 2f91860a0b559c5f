#include "base/channel.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace mlxd {
namespace {

TEST(Channel, WakesTheConsumerOnceUntilItIsEmptyAgain) {
  int wakes = 0;
  Channel<int> channel(8, [&wakes] { ++wakes; });
  channel.push(1);
  channel.push(2);
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(channel.try_pop(), 1);
  channel.push(3);
  EXPECT_EQ(wakes, 1) << "it has not been empty";
  EXPECT_EQ(channel.try_pop(), 2);
  EXPECT_EQ(channel.try_pop(), 3);
  EXPECT_EQ(channel.try_pop(), std::nullopt);
  channel.push(4);
  EXPECT_EQ(wakes, 2);
}

TEST(Channel, TellsTheProducerOfRoomOnceHalfOfItIsFreeAgain) {
  int rooms = 0;
  Channel<int> channel(4, {}, [&rooms] { ++rooms; });
  for (int i = 0; i < 4; ++i) channel.push(i);
  EXPECT_FALSE(channel.has_room());
  EXPECT_TRUE(channel.try_pop());
  EXPECT_EQ(rooms, 0);
  EXPECT_TRUE(channel.try_pop());
  EXPECT_EQ(rooms, 1);
  EXPECT_TRUE(channel.try_pop());
  EXPECT_EQ(rooms, 1);
}

TEST(Channel, SaysNothingOfRoomToAProducerThatDidNotAsk) {
  int rooms = 0;
  Channel<int> channel(2, {}, [&rooms] { ++rooms; });
  for (int i = 0; i < 2; ++i) channel.push(i);
  while (channel.try_pop()) {
  }
  EXPECT_EQ(rooms, 0);
}

TEST(Channel, TakesATerminalEventBeyondItsCapacity) {
  Channel<int> channel(1, {});
  channel.push(1);
  EXPECT_EQ(channel.room(), 0u);
  channel.push_last(2);
  EXPECT_EQ(channel.try_pop(), 1);
  EXPECT_EQ(channel.try_pop(), 2);
  EXPECT_EQ(channel.try_pop(), std::nullopt);
}

TEST(Channel, TellsOfATerminalEventThatComesAlone) {
  int wakes = 0;
  Channel<int> channel(1, [&wakes] { ++wakes; });
  channel.push_last(1);
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(channel.pop_until(TimePoint::max()), 1);
}

TEST(Channel, PopUntilGivesUpAtTheDeadline) {
  Channel<int> channel(1, {});
  EXPECT_EQ(channel.pop_until(Clock::now() + std::chrono::milliseconds(5)), std::nullopt);
}

TEST(Channel, CarriesEverythingInOrderBetweenTwoThreads) {
  std::atomic<bool> room{true};
  Channel<int> channel(16, {}, [&room] { room = true; });
  std::thread producer([&] {
    for (int i = 0; i < 2000; ++i) {
      while (!channel.has_room()) std::this_thread::yield();
      channel.push(i);
    }
  });
  for (int i = 0; i < 2000; ++i) {
    ASSERT_EQ(channel.pop_until(Clock::now() + std::chrono::seconds(60)), i);
  }
  producer.join();
}

}  // namespace
}  // namespace mlxd
