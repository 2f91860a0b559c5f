#include "backend/cuda/ordered_key.cuh"
#include "backend/cuda/sample.h"

namespace mlxd::cuda_backend {
namespace {

constexpr int kThreads = 1024;

__global__ void pick_rows(const float* logits, int vocabulary, const int* rows, int* tokens) {
  __shared__ std::uint64_t best_of_warps[kThreads / 32];
  __shared__ int broken;
  if (threadIdx.x == 0) broken = 0;
  __syncthreads();
  const float* row = logits + static_cast<long>(rows[blockIdx.x]) * vocabulary;
  std::uint64_t best = 0;
  for (int i = threadIdx.x; i < vocabulary; i += kThreads) {
    const float logit = row[i];
    if (!isfinite(logit)) broken = 1;
    best = max(best, ordered_key(logit, i));
  }
  best = best_of_warp(best);
  if (threadIdx.x % 32 == 0) best_of_warps[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (const std::uint64_t other : best_of_warps) best = max(best, other);
  tokens[blockIdx.x] = broken ? -1 : index_of(best);
}

}  // namespace

void pick_most_likely(const float* logits, int vocabulary, const int* rows, int count, int* tokens,
                      cudaStream_t stream) {
  pick_rows<<<count, kThreads, 0, stream>>>(logits, vocabulary, rows, tokens);
}

}  // namespace mlxd::cuda_backend
