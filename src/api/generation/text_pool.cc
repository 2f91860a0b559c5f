#include "api/generation/text_pool.h"

#include <exception>
#include <utility>

#include <spdlog/spdlog.h>

namespace mlxd::api {

TextPool::TextPool(int threads, int max_queued) : ring_(static_cast<std::size_t>(max_queued)) {
  threads_.reserve(static_cast<std::size_t>(threads));
  try {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (...) {  // the system gives no more threads: those that it gave are to end first
    stop();
    throw;
  }
}

TextPool::~TextPool() { stop(); }

void TextPool::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  posted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool TextPool::try_post(std::function<void()> job) noexcept {
  {
    std::lock_guard lock(mutex_);
    if (queued_ == ring_.size()) return false;
    ring_[(first_ + queued_) % ring_.size()] = std::move(job);
    ++queued_;
  }
  posted_.notify_one();
  return true;
}

void TextPool::work() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      posted_.wait(lock, [this] { return stopping_ || queued_ > 0; });
      if (stopping_) return;
      job = std::exchange(ring_[first_], nullptr);
      first_ = (first_ + 1) % ring_.size();
      --queued_;
    }
    try {
      job();
    } catch (const std::exception& failure) {
      spdlog::error("a job of the text pool failed: {}", failure.what());
    } catch (...) {
      spdlog::error("a job of the text pool failed");
    }
  }
}

}  // namespace mlxd::api
