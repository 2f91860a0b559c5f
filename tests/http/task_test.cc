#include "base/task.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include "http/timer_wait.h"

namespace mlxd::http {
namespace {

class TaskTest : public ::testing::Test, protected TaskRunner {
 protected:
  void begin(Task<> task) {
    task_ = std::move(task);
    task_->enter(*this);
    resume();
  }
  void run() {
    io_.restart();
    io_.run();
  }
  void ended() noexcept override { ended_ = true; }

  Task<int> later(int value) {
    boost::asio::steady_timer timer(io_, std::chrono::milliseconds(1));
    co_await TimerWait(timer);
    co_return value;
  }
  static Task<int> at_once(int value) { co_return value; }

  boost::asio::io_context io_;
  std::optional<Task<>> task_;
  bool ended_ = false;
};

TEST_F(TaskTest, GivesItsAwaiterWhatItReturns) {
  int sum = 0;
  const auto adds = [&]() -> Task<> { sum = co_await later(1) + co_await at_once(2); };
  begin(adds());
  EXPECT_FALSE(ended_);
  run();
  EXPECT_TRUE(ended_);
  EXPECT_EQ(sum, 3);
}

TEST_F(TaskTest, ThrowsInItsAwaiterWhatItThrows) {
  const auto throws = [&](bool waits) -> Task<int> {
    if (waits) co_await later(1);
    throw std::runtime_error("broken");
  };
  std::string said;
  const auto hears = [&]() -> Task<> {
    for (const bool waits : {false, true}) {
      try {
        co_await throws(waits);
      } catch (const std::runtime_error& error) {
        said += error.what();
      }
    }
    co_await throws(true);
  };
  begin(hears());
  run();
  EXPECT_TRUE(ended_);
  EXPECT_EQ(said, "brokenbroken");
  EXPECT_THROW(task_->result(), std::runtime_error);
}

TEST_F(TaskTest, ThatIsDestroyedWhileItWaitsIsUnwound) {
  int left = 0;
  struct Mark {
    int& left;
    ~Mark() { ++left; }
  };
  const auto inner = [&]() -> Task<int> {
    const Mark mark{left};
    boost::asio::steady_timer timer(io_, std::chrono::hours(1));
    co_await TimerWait(timer);
    co_return 1;
  };
  const auto outer = [&]() -> Task<> {
    const Mark mark{left};
    co_await inner();
  };
  begin(outer());
  EXPECT_EQ(left, 0);
  task_.reset();
  EXPECT_EQ(left, 2);
  EXPECT_FALSE(ended_);
}

TEST_F(TaskTest, ThatIsNeverAwaitedIsNotBegun) {
  bool begun = false;
  const auto sets = [&]() -> Task<> {
    begun = true;
    co_return;
  };
  { const Task<> task = sets(); }
  EXPECT_FALSE(begun);
}

// In a loop of coroutines that need not wait each would else be resumed from within the one before.
TEST_F(TaskTest, TakesNoStackForWhatItHasAwaited) {
  std::int64_t sum = 0;
  const auto adds = [&]() -> Task<> {
    co_await later(0);
    for (int i = 0; i < 1'000'000; ++i) sum += co_await at_once(i);
  };
  begin(adds());
  run();
  EXPECT_EQ(sum, 499'999'500'000);
}

}  // namespace
}  // namespace mlxd::http
