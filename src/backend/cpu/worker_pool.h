#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "backend/cpu/work_shares.h"

namespace mlxd::cpu {

// A part of a job that the workers share: units that may be computed at the same time, each by any
// worker. The functions are called on all workers; all but `run` also before the phase begins and
// after it ended, so that nothing that a phase writes may change what they return.
struct Phase {
  // How many there are, at most WorkShares::kMostUnits.
  std::function<int()> units;
  // Computes units [first, end). What it throws ends the job.
  std::function<void(int worker, int first, int end)> run;

  // Dealt out one by one from the first on, or in pieces of at least `piece` units of each worker's
  // part (work_shares.h). A worker that is alone gets all at once.
  bool in_order = false;
  int piece = 1;
  // Where each worker's part begins, [workers], ascending from 0; empty: all parts are equal.
  std::vector<int> part_begins = {};
  // What a unit reads first that no phase writes: a worker that waits fetches it into its cache for
  // the first unit of its part. Empty: nothing worth it.
  std::function<std::span<const std::byte>(int unit)> reads = {};
};

// Threads that stay for the life of the runner, and run the phases of a job one after another. The
// thread that calls run() is worker 0.
//
// A phase is over when its units are done, whoever did them: a worker whose core the system has
// lent to somebody else holds up the others only within a unit (and the end of a job for as long as
// it looks for one), and finds the phase that the others are at when it comes back. Who finishes a
// phase's last unit opens the next; a phase of one unit it runs itself.
//
// Who waits spins for a moment, because phases and steps follow within microseconds, then sleeps:
// its core may be the one that a late worker needs, and an idle server uses no processor time.
class WorkerPool {
 public:
  // >= 1, the caller included. Throws StartupError when the system gives fewer.
  explicit WorkerPool(int threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int size() const { return size_; }

  // Runs the phases in their order, each seeing what those before it wrote; at most
  // WorkShares::kMostPhases. Rethrows what the first unit that failed threw; no phase begins after
  // it, nor, as soon as the workers see it, a unit. One thread at a time.
  void run(std::span<const Phase> phases);

 private:
  void stop();
  void serve(int worker);
  std::uint32_t take_part(int worker);
  int part_begin(const Phase& phase, int units, int worker) const;
  std::span<const std::byte> work_at(int worker, std::uint32_t state);
  void advance(int worker, std::size_t index);
  void call(const Phase& phase, int worker, int first, int end);
  std::span<const std::byte> reads_next(int worker, std::uint32_t state) const;
  void fetch(std::span<const std::byte> bytes, std::uint32_t seen) const;
  void await_change(std::uint32_t seen);

  struct alignas(128) Presence {
    std::atomic<bool> inside = false;  // it may look at the job
  };

  const int size_;
  const bool crowded_;  // more workers than processors
  std::vector<std::thread> threads_;
  std::vector<Presence> presence_;
  WorkShares shares_;

  // Written while no phase is open and nobody looks at the last job's.
  std::span<const Phase> phases_;
  std::uint32_t job_ = 0;

  std::atomic<bool> failed_ = false;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;

  // The job, the phase that is open and whether one is. The only word that all wait for.
  alignas(128) std::atomic<std::uint32_t> state_{0};
  alignas(128) std::atomic<int> units_left_{0};  // of the open phase: not done
};

// How many workers serve a machine best: the physical cores that this process may run on (a second
// hardware thread of a core adds contention, no bandwidth), and no more than its control group's
// quota, beyond which the kernel would stop them all in mid-step.
int default_worker_count();

// Processors, hardware threads included, that this process may keep busy at a time.
int usable_processors();

}  // namespace mlxd::cpu
