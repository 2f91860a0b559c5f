#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace mlxd {

// A bounded number of buffers of one size, made when they are first needed and used again: what is
// on its way to or from the disk takes no more memory than they. Any thread. The pool outlives its
// buffers.
class BufferPool {
 public:
  // Goes back to its pool when it is let go of.
  class Buffer {
   public:
    Buffer() = default;  // none
    Buffer(Buffer&& other) noexcept = default;
    Buffer& operator=(Buffer&& other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(memory_, other.memory_);
      return *this;
    }
    ~Buffer() {
      if (memory_) pool_->give_back(std::move(memory_));
    }

    explicit operator bool() const { return memory_ != nullptr; }
    std::span<std::byte> bytes() const { return {memory_.get(), pool_->buffer_bytes_}; }

   private:
    friend class BufferPool;
    Buffer(BufferPool& pool, std::unique_ptr<std::byte[]> memory)
        : pool_(&pool), memory_(std::move(memory)) {}

    BufferPool* pool_ = nullptr;
    std::unique_ptr<std::byte[]> memory_;
  };

  BufferPool(std::size_t buffer_bytes, int most) : buffer_bytes_(buffer_bytes), most_(most) {
    free_.reserve(most);  // so that giving back cannot fail
  }

  // None when all are in use, or there is no memory for one more.
  Buffer try_take() { return take_until(TimePoint::min()); }
  // Likewise, but waits for one that is in use until `limit`.
  Buffer take_until(TimePoint limit) {
    std::unique_lock lock(mutex_);
    const auto ready = [this] { return !free_.empty() || made_ < most_; };
    if (!ready() && (limit == TimePoint::min() || !returned_.wait_until(lock, limit, ready))) {
      return {};
    }
    if (free_.empty()) {
      std::unique_ptr<std::byte[]> memory(new (std::nothrow) std::byte[buffer_bytes_]);
      if (!memory) return {};
      ++made_;
      return Buffer(*this, std::move(memory));
    }
    auto memory = std::move(free_.back());
    free_.pop_back();
    return Buffer(*this, std::move(memory));
  }

  // Memory of all that were made, in use or not.
  std::size_t held_bytes() const {
    std::lock_guard lock(mutex_);
    return made_ * buffer_bytes_;
  }

 private:
  void give_back(std::unique_ptr<std::byte[]> memory) {
    {
      std::lock_guard lock(mutex_);
      free_.push_back(std::move(memory));
    }
    returned_.notify_one();
  }

  const std::size_t buffer_bytes_;
  const int most_;
  mutable std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<std::byte[]>> free_;
  int made_ = 0;
};

}  // namespace mlxd
