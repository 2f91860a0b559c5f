#include "backend/cpu/worker_pool.h"

#include <atomic>
#include <ctime>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace mlxd::cpu {
namespace {

TEST(WorkerPool, RunsTheWorkOnceOnEveryWorkerAndTheCallerIsTheFirst) {
  for (const int threads : {1, 2, 3, 8}) {
    WorkerPool pool(threads);
    std::vector<std::atomic<int>> calls(threads);
    std::vector<std::thread::id> ids(threads);
    for (int step = 0; step < 200; ++step) {
      pool.run([&](int worker) {
        ++calls[worker];
        ids[worker] = std::this_thread::get_id();
      });
      for (const auto& count : calls) ASSERT_EQ(count, step + 1);
    }
    EXPECT_EQ(ids[0], std::this_thread::get_id());
    EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), threads);
  }
}

TEST(WorkerPool, AllSeeAfterABarrierWhatEachWroteBefore) {
  for (const int threads : {2, 3, 8}) {
    WorkerPool pool(threads);
    std::vector<int> values(threads);
    std::atomic<int> wrong = 0;
    pool.run([&](int worker) {
      for (int phase = 1; phase <= 300; ++phase) {
        values[worker] = phase;
        pool.barrier();
        for (const int value : values) wrong += value != phase;
        pool.barrier();
      }
    });
    EXPECT_EQ(wrong, 0);
  }
}

TEST(WorkerPool, WakesWorkersThatHaveGoneToSleep) {
  WorkerPool pool(3);
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> calls = 0;
    pool.run([&](int) { ++calls; });
    EXPECT_EQ(calls, 3);
  }
}

TEST(WorkerPool, UsesNoProcessorTimeWhenIdle) {
  WorkerPool pool(4);
  pool.run([](int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // they spin for a moment
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 50);
}

TEST(WorkerPool, CountsAtLeastOneCoreAndNoMoreThanThereAre) {
  EXPECT_GE(default_worker_count(), 1);
  EXPECT_LE(default_worker_count(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace mlxd::cpu
