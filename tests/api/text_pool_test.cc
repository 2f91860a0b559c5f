#include "api/generation/text_pool.h"

#include <atomic>
#include <functional>
#include <future>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>

#include "base/scarce_memory.h"
#include "base/scarce_threads.h"

namespace mlxd::api {
namespace {

// Jobs that wait until they are let go on.
class Gate {
 public:
  void wait() { open_.get_future().wait(); }
  void open() { open_.set_value(); }

 private:
  std::promise<void> open_;
};

TEST(TextPool, RunsItsJobsInTheirOrder) {
  std::vector<int> order;
  std::promise<void> done;
  TextPool pool(1, 10);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(pool.try_post([&, i] {
      order.push_back(i);
      if (i == 9) done.set_value();
    }));
  }
  done.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(TextPool, RefusesJobsThatExceedItsQueueAndTakesMoreWhenTheyAreDone) {
  Gate begun, gate;
  std::atomic<int> ran = 0;
  {
    TextPool pool(1, 2);
    ASSERT_TRUE(pool.try_post([&] {
      begun.open();
      gate.wait();
    }));
    begun.wait();
    std::promise<void> last;
    EXPECT_TRUE(pool.try_post([&] { ++ran; }));
    EXPECT_TRUE(pool.try_post([&] { last.set_value(); }));
    EXPECT_FALSE(pool.try_post([&] { ++ran; }));
    gate.open();
    last.get_future().wait();
    std::promise<void> another;
    EXPECT_TRUE(pool.try_post([&] { another.set_value(); }));
    another.get_future().wait();
  }
  EXPECT_EQ(ran, 1);
}

TEST(TextPool, GoesOnAfterAJobThatThrows) {
  TextPool pool(1, 4);
  std::promise<void> done;
  ASSERT_TRUE(pool.try_post([] { throw std::runtime_error("broken"); }));
  ASSERT_TRUE(pool.try_post([] { throw 1; }));
  ASSERT_TRUE(pool.try_post([&] { done.set_value(); }));
  done.get_future().wait();
}

TEST(TextPool, TakesAJobWhereThereIsNoMemory) {
  TextPool pool(1, 4);
  std::promise<void> done;
  std::function<void()> job = [&] { done.set_value(); };
  testing::make_memory_scarce(0);
  const bool taken = pool.try_post(std::move(job));
  testing::make_memory_plentiful();
  EXPECT_TRUE(taken);
  done.get_future().wait();
}

TEST(TextPool, EndsTheThreadsThatItGotWhenTheSystemGivesNoMore) {
  for (const int given : {0, 1, 3}) {
    testing::make_threads_scarce(given);
    EXPECT_THROW(TextPool(4, 10), std::system_error) << given;
    testing::make_threads_plentiful();
  }
}

}  // namespace
}  // namespace mlxd::api
