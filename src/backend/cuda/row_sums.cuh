// Sums over a row, by a block or a warp, in an order of their own.
#pragma once

namespace mlxd::cuda_backend {

inline constexpr int kRowThreads = 256;

__device__ inline float sum_of_warp(float value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(~0u, value, step);
  return value;
}

// Over a block of kRowThreads.
__device__ inline float sum_of_block(float value) {
  __shared__ float sums[kRowThreads / 32];
  value = sum_of_warp(value);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  float total = 0;
  for (const float part : sums) total += part;
  __syncthreads();
  return total;
}

// 1 / sqrt(mean(x^2) + epsilon)
__device__ inline float norm_factor(const float* x, int columns, float epsilon) {
  float squares = 0;
  for (int i = threadIdx.x; i < columns; i += kRowThreads) squares = fmaf(x[i], x[i], squares);
  return rsqrtf(sum_of_block(squares) / static_cast<float>(columns) + epsilon);
}

}  // namespace mlxd::cuda_backend
