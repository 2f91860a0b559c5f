#pragma once

#include <cstdint>

namespace mlxd::cuda_backend {

// Larger for the larger number, and of two that are equal for the lower index; never 0.
__device__ inline std::uint64_t ordered_key(float number, int index) {
  const std::uint32_t bits = __float_as_uint(number == 0 ? 0.f : number);
  const std::uint32_t order = bits >> 31 ? ~bits : bits | 0x80000000u;
  return static_cast<std::uint64_t>(order) << 32 | static_cast<std::uint32_t>(~index);
}

__device__ inline int index_of(std::uint64_t key) {
  return static_cast<int>(~static_cast<std::uint32_t>(key));
}

__device__ inline std::uint64_t best_of_warp(std::uint64_t key) {
  for (int step = 16; step > 0; step /= 2) {
    const auto other = static_cast<std::uint64_t>(
        __shfl_xor_sync(~0u, static_cast<unsigned long long>(key), step));
    key = other > key ? other : key;
  }
  return key;
}

}  // namespace mlxd::cuda_backend
