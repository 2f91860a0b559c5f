#include "backend/cpu/worker_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <ctime>
#include <fstream>
#include <new>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include "base/error.h"
#include "base/scarce_threads.h"

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

// The threads of a pool, worker 0's left out, as the system numbers them.
std::vector<pid_t> threads_of(WorkerPool& pool) {
  std::vector<pid_t> ids(pool.size());
  std::atomic<int> here = 0;
  const Phase phase = meeting(pool, here, [&](int worker) { ids[worker] = ::gettid(); });
  pool.run({&phase, 1});
  ids.erase(ids.begin());
  return ids;
}

// The third word of /proc's line, behind a name in brackets.
bool sleeps(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string line;
  std::getline(file, line);
  const auto name_end = line.rfind(')');
  return name_end != line.npos && line.substr(name_end + 2, 1) == "S";
}

// Workers that have nothing to do spin for a moment, and then sleep.
bool fall_asleep(const std::vector<pid_t>& threads) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!std::all_of(threads.begin(), threads.end(), sleeps)) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::yield();
  }
  return true;
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
  ASSERT_TRUE(fall_asleep(threads_of(pool)));  // it has nothing to do now
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
  const auto threads = threads_of(pool);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(fall_asleep(threads));
    std::atomic<int> here = 0;
    const Phase phase = meeting(pool, here, [](int) {});
    pool.run({&phase, 1});
    EXPECT_EQ(here, 3);
  }
}

TEST(WorkerPool, UsesNoProcessorTimeWhenIdle) {
  WorkerPool pool(4);
  const auto threads = threads_of(pool);
  ASSERT_TRUE(fall_asleep(threads));
  // All but this thread's, which only waits.
  const auto used = [] {
    timespec all{}, own{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &all);
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own);
    return (all.tv_sec - own.tv_sec) * 1'000'000'000 + all.tv_nsec - own.tv_nsec;
  };
  const auto before = used();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LT(used() - before, 1'000'000) << "nanoseconds of 100 million";
}

TEST(WorkerPool, SaysSoWhenTheSystemGivesTooFewThreads) {
  for (const int given : {0, 1, 3}) {
    mlxd::testing::make_threads_scarce(given);
    try {
      const WorkerPool pool(8);
      ADD_FAILURE() << "seven threads were begun";
    } catch (const StartupError& error) {
      EXPECT_THAT(error.what(),
                  ::testing::HasSubstr(std::to_string(given + 1) + " of 8 compute threads"));
      EXPECT_THAT(error.what(), ::testing::HasSubstr("--threads"));
    }
    mlxd::testing::make_threads_plentiful();
  }
}

TEST(WorkerPool, CountsAtLeastOneCoreAndNoMoreThanThereAre) {
  EXPECT_GE(default_worker_count(), 1);
  EXPECT_LE(default_worker_count(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace mlxd::cpu
