// Memory for the few things that the I/O thread must be able to do where there is none left.
// Private to http.
#pragma once

#include <atomic>
#include <cstddef>

#include "base/check.h"

namespace mlxd::http {

// A place for one pending operation of Asio, made with its owner, so that starting the operation
// takes no memory: give `allocator()` to asio::bind_allocator. A second one while the first is
// pending is a bug; one that is too large does not compile. The owner must outlive the operation.
class HandlerMemory {
 public:
  static constexpr std::size_t kBytes = 256;

  template <class T>
  class Allocator {
   public:
    using value_type = T;
    explicit Allocator(HandlerMemory& memory) noexcept : memory_(&memory) {}
    template <class U>
    Allocator(const Allocator<U>& other) noexcept : memory_(other.memory_) {}  // NOLINT: implicit

    T* allocate(std::size_t count) noexcept {
      static_assert(sizeof(T) <= kBytes && alignof(T) <= alignof(std::max_align_t));
      return static_cast<T*>(memory_->allocate(count * sizeof(T)));
    }
    void deallocate(T*, std::size_t) noexcept { memory_->taken_ = false; }
    template <class U>
    bool operator==(const Allocator<U>& other) const noexcept {
      return memory_ == other.memory_;
    }

   private:
    template <class>
    friend class Allocator;
    HandlerMemory* memory_;
  };

  HandlerMemory() = default;
  HandlerMemory(const HandlerMemory&) = delete;
  HandlerMemory& operator=(const HandlerMemory&) = delete;

  Allocator<std::byte> allocator() noexcept { return Allocator<std::byte>(*this); }

 private:
  void* allocate(std::size_t bytes) noexcept {
    check(bytes <= kBytes && !taken_.exchange(true), "one operation at a time has this place");
    return place_;
  }

  alignas(std::max_align_t) std::byte place_[kBytes];
  std::atomic<bool> taken_{false};
};

}  // namespace mlxd::http
