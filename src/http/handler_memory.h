// Memory for the few things that the I/O thread must be able to do where there is none left.
// Private to http.
#pragma once

#include <atomic>
#include <cstddef>
#include <new>

namespace mlxd::http {

// A place for one pending operation of Asio, made with its owner, so that starting the operation
// cannot fail: give `allocator()` to asio::bind_allocator. An operation that finds the place taken,
// or is too large for it, takes its memory from the heap. The owner must outlive the operation.
class HandlerMemory {
 public:
  template <class T>
  class Allocator {
   public:
    using value_type = T;
    explicit Allocator(HandlerMemory& memory) noexcept : memory_(&memory) {}
    template <class U>
    Allocator(const Allocator<U>& other) noexcept : memory_(other.memory_) {}  // NOLINT: implicit

    T* allocate(std::size_t count) { return static_cast<T*>(memory_->allocate(count * sizeof(T))); }
    void deallocate(T* place, std::size_t) noexcept { memory_->deallocate(place); }
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
  void* allocate(std::size_t bytes) {
    if (bytes <= sizeof place_ && !taken_.exchange(true)) return place_;
    return ::operator new(bytes);
  }
  void deallocate(void* place) noexcept {
    if (place != place_) return ::operator delete(place);
    taken_ = false;
  }

  alignas(std::max_align_t) std::byte place_[256];
  std::atomic<bool> taken_{false};
};

}  // namespace mlxd::http
