#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace mlxd::cpu {

// Threads that stay for the life of the runner. The thread that calls run() is worker 0, the others
// wait for it: they spin for a moment, because the next step of a generation follows within
// microseconds, then sleep, so that an idle server uses no processor time.
class WorkerPool {
 public:
  explicit WorkerPool(int threads);  // >= 1, the caller included
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int size() const { return size_; }

  // Calls work(worker) once on each worker, 0 .. size() - 1, and returns when all have returned.
  // `work` must not throw. One thread at a time.
  template <class Work>
  void run(Work&& work) {
    using Callable = std::remove_reference_t<Work>;
    run_erased([](void* context, int worker) { (*static_cast<Callable*>(context))(worker); },
               const_cast<void*>(static_cast<const void*>(&work)));
  }

  // Waits until every worker has come here; what each wrote before, all see after. Called by all
  // workers inside run(), equally often. About 100 ns on two cores of one socket.
  void barrier();

 private:
  using Function = void (*)(void* context, int worker);

  void run_erased(Function function, void* context);
  void serve(int worker);
  std::uint32_t await_job(std::uint32_t last_job);

  const int size_;
  const int spins_before_yield_;
  Function function_ = nullptr;  // null asks the workers to end
  void* context_ = nullptr;
  std::vector<std::thread> threads_;
  // Each on a cache line of its own: the barrier is as fast as these lines travel.
  alignas(128) std::atomic<std::uint32_t> job_{0};
  alignas(128) std::atomic<int> arrived_{0};
  alignas(128) std::atomic<std::uint32_t> generation_{0};
};

// How many workers serve a machine best: the physical cores that this process may run on (a second
// hardware thread of a core adds contention, no bandwidth), and no more than its control group's
// quota, beyond which the kernel would stop them all in mid-step.
int default_worker_count();

}  // namespace mlxd::cpu
