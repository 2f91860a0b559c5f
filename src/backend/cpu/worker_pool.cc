#include "backend/cpu/worker_pool.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/control_groups.h"
#include "base/error.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace mlxd::cpu {
namespace {

// How long a worker spins before it sleeps. Between two steps: longer than the engine needs there.
// Within one: some times what waking up costs.
constexpr double kSpinBetweenJobs = 300e-6;
constexpr double kSpinWithinJob = 100e-6;

// What a waiting worker fetches of the next phase: waits are short, and one that is not is for want
// of memory bandwidth.
constexpr std::size_t kFetchBytes = 8 << 10;

// WorkerPool::state_: bit 0 tells whether a phase is open, then 16 bits which, then the job.
constexpr std::uint32_t kOpen = 1;

std::uint32_t open_state(std::uint32_t job, std::size_t phase) {
  return job << 17 | static_cast<std::uint32_t>(phase) << 1 | kOpen;
}
std::uint32_t closed_state(std::uint32_t job) { return job << 17; }
constexpr std::uint32_t kEnd = 0xffff << 1;  // of the pool: no job's
int phase_of(std::uint32_t state) { return static_cast<int>(state >> 1 & 0xffff); }

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
#else
int physical_cores() { return 0; }
#endif

}  // namespace

int default_worker_count() {
  int count = physical_cores();
  if (count == 0) count = logical_cores();
  // Whole processors: a worker that has used up its share would hold up the others.
  const double quota = cpu_quota();
  if (quota > 0) count = std::min(count, std::max(1, static_cast<int>(quota)));
  return count;
}

int usable_processors() {
  const double quota = cpu_quota();
  if (quota == 0) return logical_cores();
  return std::min(logical_cores(), std::max(1, static_cast<int>(std::ceil(quota))));
}

WorkerPool::WorkerPool(int threads)
    : size_(threads), crowded_(threads > logical_cores()), presence_(threads), shares_(threads) {
  check(threads >= 1, "a worker pool has at least one worker");
  threads_.reserve(threads - 1);
  try {
    for (int worker = 1; worker < threads; ++worker) {
      threads_.emplace_back([this, worker] { serve(worker); });
    }
  } catch (const std::system_error& error) {
    stop();
    throw StartupError(
        fmt::format("the system gives this process no more than {} of {} compute threads ({}): "
                    "lower --threads, "
                    "or raise the limit of threads or memory",
                    threads_.size() + 1, threads, error.code().message()));
  } catch (...) {
    stop();
    throw;
  }
}

WorkerPool::~WorkerPool() { stop(); }

void WorkerPool::stop() {
  state_ = kEnd;
  state_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::run(std::span<const Phase> phases) {
  check(phases.size() <= WorkShares::kMostPhases, "the phases of a job can be counted");
  phases_ = phases;
  ++job_;
  shares_.begin();
  advance(0, 0);
  for (auto state = take_part(0); state & kOpen; state = take_part(0)) await_change(state);
  for (const Presence& presence : presence_) {
    while (presence.inside) std::this_thread::yield();
  }
  if (failed_) {
    failed_ = false;
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

void WorkerPool::serve(int worker) {
  while (true) {
    const std::uint32_t state = take_part(worker);
    if (state == kEnd) return;
    await_change(state);
  }
}

// Works at the open phase, if there is one. Returns the state that it found.
std::uint32_t WorkerPool::take_part(int worker) {
  // In this order: either run(), having seen the job end, sees this worker inside and waits for it,
  // or this worker sees that the job has ended.
  std::atomic<bool>& inside = presence_[worker].inside;
  inside.store(true);
  const std::uint32_t state = state_.load();
  std::span<const std::byte> next;
  if (state & kOpen) next = work_at(worker, state);
  inside.store(false, std::memory_order_release);
  fetch(next, state);
  return state;
}

// The first unit of a worker's part; of worker size_, the number of units.
int WorkerPool::part_begin(const Phase& phase, int units, int worker) const {
  if (worker == size_) return units;
  if (!phase.part_begins.empty()) return std::min(phase.part_begins[worker], units);
  return static_cast<int>(static_cast<std::int64_t>(units) * worker / size_);
}

// The phase may be over at any time; then nothing of it is left to take. Returns what the worker
// will read next where it has to wait.
std::span<const std::byte> WorkerPool::work_at(int worker, std::uint32_t state) {
  const int index = phase_of(state);
  const Phase& phase = phases_[index];
  const int units = phase.units();
  int done = 0;
  const auto work = [&](int first, int end) {
    call(phase, worker, first, end);
    done += end - first;
  };
  if (phase.in_order) {
    shares_.run_in_order(index, units, work);
  } else {
    const auto begin = [&](int of) { return part_begin(phase, units, of); };
    shares_.run(worker, index, begin, phase.piece, work);
  }
  if (done > 0 && units_left_.fetch_sub(done, std::memory_order_acq_rel) == done) {
    advance(worker, index + 1);
    return {};
  }
  return reads_next(worker, state);
}

std::span<const std::byte> WorkerPool::reads_next(int worker, std::uint32_t state) const {
  constexpr std::size_t kPhases = 5;
  const auto after = phases_.subspan(phase_of(state) + 1);
  for (const Phase& phase : after.first(std::min(after.size(), kPhases))) {
    if (!phase.reads) continue;
    const int units = phase.units(), first = part_begin(phase, units, worker);
    return first < units ? phase.reads(first) : std::span<const std::byte>();
  }
  return {};
}

// The beginning of `bytes` into the cache, while the others end the open phase.
void WorkerPool::fetch(std::span<const std::byte> bytes, std::uint32_t seen) const {
  for (std::size_t at = 0; at < std::min(bytes.size(), kFetchBytes); at += 64) {
    if (at % 256 == 0 && state_.load(std::memory_order_relaxed) != seen) return;
    __builtin_prefetch(bytes.data() + at, 0, 2);
  }
}

// Opens the next phase that is to be shared, after those before it that are not, or ends the job.
void WorkerPool::advance(int worker, std::size_t index) {
  for (; index < phases_.size() && !failed_; ++index) {
    const Phase& phase = phases_[index];
    const int units = phase.units();
    check(units <= WorkShares::kMostUnits, "the units of a phase can be counted");
    if (units > 1 && size_ > 1) {
      check(phase.part_begins.empty() || phase.part_begins[0] == 0, "parts begin with unit 0");
      units_left_.store(units, std::memory_order_relaxed);
      state_ = open_state(job_, index);
      state_.notify_all();  // no system call unless a worker sleeps
      return;
    }
    if (units > 0) call(phase, worker, 0, units);
  }
  state_ = closed_state(job_);
  state_.notify_all();
}

void WorkerPool::call(const Phase& phase, int worker, int first, int end) {
  if (failed_.load(std::memory_order_relaxed)) return;
  try {
    phase.run(worker, first, end);
  } catch (...) {
    std::lock_guard lock(failure_mutex_);
    if (!failed_) failure_ = std::current_exception();
    failed_ = true;
  }
}

void WorkerPool::await_change(std::uint32_t seen) {
  const auto changes = [&](int looks) {
    for (int i = 0; i < looks; ++i) {
      if (state_.load(std::memory_order_acquire) != seen) return true;
      relax();
    }
    return false;
  };
  // Most changes come before it is worth asking for the time.
  if (changes(64)) return;
  const double spin = crowded_ ? 0 : seen & kOpen ? kSpinWithinJob : kSpinBetweenJobs;
  for (const TimePoint start = Clock::now(); seconds_between(start, Clock::now()) < spin;) {
    if (changes(64)) return;
  }
  state_.wait(seen, std::memory_order_acquire);
}

}  // namespace mlxd::cpu
