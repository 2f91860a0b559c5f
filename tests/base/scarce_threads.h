#pragma once

#include <limits>

namespace mlxd::testing {

// Of the threads that this process begins from here on, the system gives the first `works`; the
// `fails` after these fail as at a limit. Linking scarce_threads.cc replaces pthread_create
// (Linux).
void make_threads_scarce(long works, long fails = std::numeric_limits<long>::max());
void make_threads_plentiful();

}  // namespace mlxd::testing
