#include "backend/cpu/worker_pool.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <string>

#include "base/check.h"
#include "base/clock.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace mlxd::cpu {
namespace {

// Longer than the engine needs between two steps, short enough not to matter when it stops.
constexpr double kSpinSeconds = 300e-6;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int logical_cores() { return std::max(1u, std::thread::hardware_concurrency()); }

#if defined(__linux__)
// Distinct cores behind the logical processors of this process's affinity mask; 0 when unknown.
int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 0;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) return 0;
    cores.insert(siblings);
  }
  return static_cast<int>(cores.size());
}

// Whole processors that the control group grants; 0 when it sets no limit.
int quota_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0, period = 0;
  if (!(file >> quota >> period) || period <= 0) return 0;  // "max 100000": no limit
  return std::max(1, static_cast<int>(quota / period));
}
#else
int physical_cores() { return 0; }
int quota_cores() { return 0; }
#endif

}  // namespace

int default_worker_count() {
  int count = physical_cores();
  if (count == 0) count = logical_cores();
  if (const int quota = quota_cores(); quota > 0) count = std::min(count, quota);
  return count;
}

// Where there are more workers than processors, a waiting worker holds up the one it waits for, so
// it gives way almost at once.
WorkerPool::WorkerPool(int threads)
    : size_(threads), spins_before_yield_(threads > logical_cores() ? 32 : 2000) {
  check(threads >= 1, "a worker pool has at least one worker");
  threads_.reserve(threads - 1);
  for (int worker = 1; worker < threads; ++worker) {
    threads_.emplace_back([this, worker] { serve(worker); });
  }
}

WorkerPool::~WorkerPool() {
  function_ = nullptr;
  job_.fetch_add(1);
  job_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::run_erased(Function function, void* context) {
  if (size_ > 1) {
    function_ = function;
    context_ = context;
    job_.fetch_add(1);
    job_.notify_all();  // no system call unless a worker sleeps
  }
  function(context, 0);
  barrier();
}

void WorkerPool::serve(int worker) {
  std::uint32_t job = 0;
  while (true) {
    job = await_job(job);
    if (function_ == nullptr) return;
    function_(context_, worker);
    barrier();
  }
}

std::uint32_t WorkerPool::await_job(std::uint32_t last_job) {
  const TimePoint start = Clock::now();
  for (int spins = 0;; ++spins) {
    const std::uint32_t job = job_.load(std::memory_order_acquire);
    if (job != last_job) return job;
    relax();
    if (spins < 64) continue;
    spins = 0;
    if (spins_before_yield_ < 64) std::this_thread::yield();
    if (seconds_between(start, Clock::now()) > kSpinSeconds) break;
  }
  job_.wait(last_job, std::memory_order_acquire);
  return job_.load(std::memory_order_acquire);
}

void WorkerPool::barrier() {
  if (size_ == 1) return;
  const std::uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; generation_.load(std::memory_order_acquire) == generation; ++spins) {
    if (spins < spins_before_yield_) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace mlxd::cpu
