#include "backend/cpu/worker_pool.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <ctime>
#include <new>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <pthread.h>

namespace mlxd::cpu {
namespace {

Phase phase_of(int units, std::function<void(int worker, int first, int end)> run) {
  return {.units = [units] { return units; }, .run = std::move(run)};
}

// A phase that ends only when each of the pool's workers has come to it.
Phase meeting(const WorkerPool& pool, std::atomic<int>& here, std::function<void(int)> visit) {
  Phase phase = phase_of(pool.size(), [&here, visit, size = pool.size()](int worker, int, int) {
    visit(worker);
    for (++here; here < size;) std::this_thread::yield();
  });
  phase.in_order = true;
  return phase;
}

TEST(WorkerPool, RunsEveryUnitOfEveryPhaseOnce) {
  std::mt19937 random(1);
  for (const int threads : {1, 2, 3, 8}) {
    WorkerPool pool(threads);
    for (int trial = 0; trial < 50; ++trial) {
      std::vector<std::vector<std::atomic<int>>> times(1 + random() % 20);
      std::vector<Phase> phases;
      for (auto& counts : times) {
        const int units = static_cast<int>(random() % 3 == 0 ? random() % 3 : random() % 300);
        counts = std::vector<std::atomic<int>>(units);
        Phase phase = phase_of(units, [&counts](int, int first, int end) {
          for (int unit = first; unit < end; ++unit) ++counts[unit];
        });
        phase.in_order = random() % 3 == 0;
        phase.piece = 1 + static_cast<int>(random() % 9);
        if (random() % 2 == 0) {
          for (int worker = 0; worker < threads; ++worker) {
            phase.part_begins.push_back(worker == 0 ? 0 : static_cast<int>(random() % 300));
          }
          std::sort(phase.part_begins.begin(), phase.part_begins.end());
        }
        phases.push_back(std::move(phase));
      }
      pool.run(phases);
      for (const auto& counts : times) {
        for (const auto& count : counts) ASSERT_EQ(count, 1);
      }
    }
  }
}

TEST(WorkerPool, HasACallerWhoIsWorker0AndOneThreadForEachOther) {
  for (const int threads : {1, 2, 3, 8}) {
    WorkerPool pool(threads);
    std::vector<std::thread::id> ids(threads);
    std::atomic<int> here = 0;
    const Phase phase =
        meeting(pool, here, [&](int worker) { ids[worker] = std::this_thread::get_id(); });
    pool.run({&phase, 1});
    EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), threads);
    EXPECT_EQ(ids[0], std::this_thread::get_id());
  }
}

TEST(WorkerPool, LetsAPhaseSeeWhatThoseBeforeItWrote) {
  for (const int threads : {2, 3, 8}) {
    WorkerPool pool(threads);
    std::vector<int> values(40);
    std::atomic<int> wrong = 0;
    std::vector<Phase> phases;
    for (int i = 1; i <= 300; ++i) {
      phases.push_back(phase_of(40, [&values, i](int, int first, int end) {
        for (int unit = first; unit < end; ++unit) values[unit] = i;
      }));
      phases.push_back(phase_of(i % 3, [&values, &wrong, i](int, int, int) {
        for (const int value : values) wrong += value != i;
      }));
    }
    pool.run(phases);
    EXPECT_EQ(wrong, 0);
  }
}

#if !defined(__SANITIZE_THREAD__)  // puts signals off
std::atomic<bool> held_back = false, released = false;

void hold_back(int) {
  held_back = true;
  while (!released) continue;
  held_back = false;
}

// As the system does when it lends a worker's core to somebody else.
TEST(WorkerPool, DoesNotWaitForAWorkerThatIsHeldBackOutsideAUnit) {
  released = false;
  WorkerPool pool(2);
  std::atomic<int> here = 0;
  std::atomic<pthread_t> thread;
  const Phase all = meeting(pool, here, [&](int worker) {
    if (worker == 1) thread = pthread_self();
  });
  pool.run({&all, 1});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // it has nothing to do now
  std::signal(SIGUSR1, hold_back);
  ASSERT_EQ(pthread_kill(thread, SIGUSR1), 0);
  while (!held_back) std::this_thread::yield();
  int done = 0;
  const std::vector<Phase> phases(
      100, phase_of(64, [&](int, int first, int end) { done += end - first; }));
  for (int job = 0; job < 10; ++job) pool.run(phases);
  EXPECT_EQ(done, 10 * 100 * 64);
  EXPECT_TRUE(held_back);
  released = true;
  here = 0;
  pool.run({&all, 1});  // it is with the others again
  std::signal(SIGUSR1, SIG_DFL);
}
#endif

TEST(WorkerPool, RethrowsWhatAUnitThrewBeginsNoMoreAndGoesOnWithTheNextJob) {
  for (const int threads : {1, 2, 8}) {
    WorkerPool pool(threads);
    for (int trial = 0; trial < 100; ++trial) {
      std::atomic<bool> late = false;
      const std::vector<Phase> phases = {
          phase_of(trial % 2 == 0 ? 1 : 64, [](int, int, int) { throw std::bad_alloc(); }),
          phase_of(64, [&](int, int, int) { late = true; })};
      EXPECT_THROW(pool.run(phases), std::bad_alloc);
      EXPECT_FALSE(late);
    }
    std::atomic<int> done = 0;
    const Phase phase = phase_of(64, [&](int, int first, int end) { done += end - first; });
    pool.run({&phase, 1});
    EXPECT_EQ(done, 64);
  }
}

TEST(WorkerPool, WakesWorkersThatHaveGoneToSleep) {
  WorkerPool pool(3);
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> here = 0;
    const Phase phase = meeting(pool, here, [](int) {});
    pool.run({&phase, 1});
    EXPECT_EQ(here, 3);
  }
}

TEST(WorkerPool, UsesNoProcessorTimeWhenIdle) {
  WorkerPool pool(4);
  const Phase phase = phase_of(64, [](int, int, int) {});
  pool.run({&phase, 1});
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
