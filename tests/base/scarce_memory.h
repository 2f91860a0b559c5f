#pragma once

#include <limits>

namespace mlxd::testing {

// Makes memory scarce for one thread: of the allocations that it makes from here on, the first
// `works` succeed and the `fails` after these throw std::bad_alloc, or return null where that is
// asked for. Linking scarce_memory.cc replaces operator new and aligned_alloc.
void make_memory_scarce(long works, long fails = std::numeric_limits<long>::max());
void make_memory_plentiful();
// Allocations of all threads that failed since this was asked last.
long allocations_that_failed();

}  // namespace mlxd::testing
