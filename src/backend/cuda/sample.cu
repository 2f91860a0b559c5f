#include <cstdint>

#include "backend/cuda/sample.h"

namespace mlxd::cuda_backend {
namespace {

constexpr int kThreads = 1024;

// Larger for the larger logit, and of two that are equal for the lower token; never 0.
__device__ std::uint64_t key_of(float logit, int token) {
  const std::uint32_t bits = __float_as_uint(logit == 0 ? 0.f : logit);
  const std::uint32_t order = bits >> 31 ? ~bits : bits | 0x80000000u;
  return static_cast<std::uint64_t>(order) << 32 | static_cast<std::uint32_t>(~token);
}

__global__ void pick_rows(const float* logits, int vocabulary, const int* rows, int* tokens) {
  __shared__ std::uint64_t best_of_warp[kThreads / 32];
  __shared__ int broken;
  if (threadIdx.x == 0) broken = 0;
  __syncthreads();
  const float* row = logits + static_cast<long>(rows[blockIdx.x]) * vocabulary;
  std::uint64_t best = 0;
  for (int i = threadIdx.x; i < vocabulary; i += kThreads) {
    const float logit = row[i];
    if (!isfinite(logit)) broken = 1;
    best = max(best, key_of(logit, i));
  }
  for (int step = 16; step > 0; step /= 2) best = max(best, __shfl_xor_sync(~0u, best, step));
  if (threadIdx.x % 32 == 0) best_of_warp[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (const std::uint64_t other : best_of_warp) best = max(best, other);
  tokens[blockIdx.x] = broken ? -1 : static_cast<int>(~static_cast<std::uint32_t>(best));
}

}  // namespace

void pick_most_likely(const float* logits, int vocabulary, const int* rows, int count, int* tokens,
                      cudaStream_t stream) {
  pick_rows<<<count, kThreads, 0, stream>>>(logits, vocabulary, rows, tokens);
}

}  // namespace mlxd::cuda_backend
