#include "backend/cuda/linear.cuh"
#include "backend/cuda/linear_types.h"

namespace mlxd::cuda_backend {

void multiply(Element element, const DeviceMatrix& matrix, const void* x, int stride, int rows,
              const Epilogue& epilogue, cudaStream_t stream) {
  const MultiplyAll call{matrix, x, stride, rows, epilogue, stream};
  if (element == Element::f16) return multiply_f16(call);
  multiply_bf16(call);
}

void multiply_experts(Element element, const ExpertMatrix& matrix, const void* x, int stride,
                      bool gather, const SortedPairs& pairs, int pair_count,
                      const Epilogue& epilogue, cudaStream_t stream) {
  const MultiplyExperts call{matrix, x, stride, gather, pairs, pair_count, epilogue, stream};
  if (element == Element::f16) return multiply_experts_f16(call);
  multiply_experts_bf16(call);
}

}  // namespace mlxd::cuda_backend
