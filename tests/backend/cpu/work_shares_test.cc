#include "backend/cpu/work_shares.h"

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/worker_pool.h"

namespace mlxd::cpu {
namespace {

TEST(WorkShares, DealOutEveryUnitOnceInEveryPhase) {
  std::mt19937 random(1);
  for (const int workers : {1, 2, 3, 7}) {
    WorkerPool pool(workers);
    WorkShares shares(workers);
    for (int trial = 0; trial < 50; ++trial) {
      const int units = static_cast<int>(random() % 300),
                piece = 1 + static_cast<int>(random() % 9);
      constexpr int kPhases = 5;
      std::vector<std::vector<std::atomic<int>>> times(kPhases);
      for (auto& phase : times) phase = std::vector<std::atomic<int>>(units);
      std::atomic<int> too_long = 0;
      pool.run([&](int worker) {
        for (auto& phase : times) {
          const auto part_begin = [&](int index) { return units * index / workers; };
          shares.run(worker, part_begin, piece, [&](int first, int end) {
            too_long += end - first > piece;
            for (int unit = first; unit < end; ++unit) ++phase[unit];
          });
          pool.barrier();
        }
      });
      EXPECT_EQ(too_long, 0);
      for (const auto& phase : times) {
        for (const auto& count : phase) ASSERT_EQ(count, 1);
      }
    }
  }
}

TEST(WorkShares, GiveTheOthersWhatAWorkerIsLateFor) {
  WorkerPool pool(2);
  WorkShares shares(2);
  std::vector<int> done_by(2);
  pool.run([&](int worker) {
    if (worker == 1) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    shares.run(
        worker, [](int index) { return 50 * index; }, 4,
        [&](int first, int end) { done_by[worker] += end - first; });
  });
  EXPECT_EQ(done_by[0], 100);
}

TEST(WorkShares, BeginWithAWorkersOwnPartFromItsFront) {
  WorkShares shares(1);
  std::vector<int> order;
  shares.run(
      0, [](int index) { return 10 * index; }, 3, [&](int first, int) { order.push_back(first); });
  EXPECT_EQ(order, (std::vector<int>{0, 3, 6, 9}));
}

}  // namespace
}  // namespace mlxd::cpu
