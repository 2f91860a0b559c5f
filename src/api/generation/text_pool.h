#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace mlxd::api {

// The threads that parse, render and tokenise, so that the I/O thread never does. All memory is
// made at construction: a job that was made can be posted and run where there is none left.
class TextPool {
 public:
  TextPool(int threads, int max_queued);
  // Drops what has not begun and waits for what has.
  ~TextPool();

  // Any thread. False when `max_queued` jobs wait already. What a job throws is logged, and costs
  // neither the thread nor other jobs: whoever waits for it must be told before.
  bool try_post(std::function<void()> job) noexcept;

 private:
  void work();
  void stop();

  std::mutex mutex_;  // of all that follows, but the threads
  std::condition_variable posted_;
  std::vector<std::function<void()>> ring_;  // of those that wait
  std::size_t first_ = 0;                    // the oldest one's place
  std::size_t queued_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace mlxd::api
