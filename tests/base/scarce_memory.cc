#include "base/scarce_memory.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

namespace {

thread_local long works_left = 0;
thread_local long fails_left = 0;
std::atomic<long> failed{0};

bool is_to_fail() {
  if (fails_left == 0) return false;
  if (works_left > 0) {
    --works_left;
    return false;
  }
  --fails_left;
  ++failed;
  return true;
}

}  // namespace

// All forms that may reach each other: the sanitizers' own do not mix with these.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return is_to_fail() ? nullptr : std::malloc(std::max<std::size_t>(bytes, 1));
}
void* operator new(std::size_t bytes) {
  void* memory = operator new(bytes, std::nothrow);
  return memory != nullptr ? memory : throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

// What Asio takes its memory from.
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  if (is_to_fail()) return nullptr;
  void* memory = nullptr;
  return posix_memalign(&memory, std::max(alignment, sizeof(void*)), bytes) == 0 ? memory : nullptr;
}

namespace mlxd::testing {

void make_memory_scarce(long works, long fails) {
  works_left = works;
  fails_left = fails;
}

void make_memory_plentiful() { fails_left = 0; }

long allocations_that_failed() { return failed.exchange(0); }

}  // namespace mlxd::testing
