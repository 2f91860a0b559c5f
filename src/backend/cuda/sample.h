#pragma once

#include <cuda_runtime_api.h>

namespace mlxd::cuda_backend {

// tokens [count] = of each of these rows of logits [.., vocabulary] the most likely token, the
// lowest of those that tie; -1 where a logit is not finite.
void pick_most_likely(const float* logits, int vocabulary, const int* rows, int count, int* tokens,
                      cudaStream_t stream);

}  // namespace mlxd::cuda_backend
