// What the machine of a benchmark can do: the peaks that kernels are measured against, taken in the
// same run, since machines differ and are shared.
#pragma once

#include <cstddef>
#include <functional>

#include "backend/cpu/kernels.h"

namespace mlxd::cpu {

inline constexpr std::size_t kStreamBytes = std::size_t{96}
                                            << 20;  // more than the last-level cache

struct Machine {
  const Kernels* kernels = nullptr;
  int threads = 1;
  double read_bytes_per_second = 0;
  // A multiply-add is 2; 0: not known for this processor.
  double int8_operations_per_second = 0, float_operations_per_second = 0;
};

Machine measure_machine(const Kernels* kernels, int threads);

// Runs work(0..threads-1) at once and says how long the slowest took: in processor time of its
// thread, so that on a shared machine other programs' time slices do not count.
double seconds_of(int threads, const std::function<void(int)>& work);

}  // namespace mlxd::cpu
