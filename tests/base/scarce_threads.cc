#include "base/scarce_threads.h"

#include <cerrno>
#include <mutex>

#include <dlfcn.h>
#include <pthread.h>

namespace {

std::mutex mutex;
long works_left = 0;
long fails_left = 0;

bool is_to_fail() {
  std::lock_guard lock(mutex);
  if (fails_left == 0) return false;
  if (works_left > 0) {
    --works_left;
    return false;
  }
  --fails_left;
  return true;
}

}  // namespace

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*run)(void*), void* argument) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
  return is_to_fail() ? EAGAIN : create(thread, attributes, run, argument);
}

namespace mlxd::testing {

void make_threads_scarce(long works, long fails) {
  std::lock_guard lock(mutex);
  works_left = works;
  fails_left = fails;
}

void make_threads_plentiful() { make_threads_scarce(0, 0); }

}  // namespace mlxd::testing
