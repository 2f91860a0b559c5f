// What the kernels of experts and of recurrent states are made for; more is refused at load.
#pragma once

#include <cstddef>

namespace mlxd::cuda_backend {

inline constexpr int kMostExperts = 512;
inline constexpr int kMostChosen = 32;  // experts of a row, and groups of experts
inline constexpr int kMostKernel = 8;   // rows of a convolution

// What is kept of a pair of a row and an expert (SortedPairs), and beside all of them.
inline constexpr std::size_t kPairBytes = 32, kPairsBytes = 16;

}  // namespace mlxd::cuda_backend
