#include "backend/cpu/work_shares.h"

#include <atomic>
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
      pool.run([&](int worker) {
        for (auto& phase : times) {
          const auto part_begin = [&](int index) { return units * index / workers; };
          shares.run(worker, part_begin, piece, [&](int first, int end) {
            for (int unit = first; unit < end; ++unit) ++phase[unit];
          });
          pool.barrier();
        }
      });
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
  std::atomic<bool> all_done = false;
  pool.run([&](int worker) {
    while (worker == 1 && !all_done) std::this_thread::yield();
    shares.run(
        worker, [](int index) { return 50 * index; }, 4,
        [&](int first, int end) { done_by[worker] += end - first; });
    all_done = true;
  });
  EXPECT_EQ(done_by[0], 100);
}

TEST(WorkShares, BeginWithAWorkersOwnPartFromItsFrontInEverSmallerPieces) {
  WorkShares shares(1);
  std::vector<int> ends;
  shares.run(
      0, [](int index) { return 40 * index; }, 3, [&](int, int end) { ends.push_back(end); });
  EXPECT_EQ(ends, (std::vector<int>{20, 30, 35, 38, 40}));
}

}  // namespace
}  // namespace mlxd::cpu
