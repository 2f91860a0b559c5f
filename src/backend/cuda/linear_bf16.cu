#include "backend/cuda/linear.cuh"
#include "backend/cuda/linear_types.h"

namespace mlxd::cuda_backend {

void multiply_bf16(const DeviceMatrix& matrix, const void* x, int stride, int rows,
                   const Epilogue& e, cudaStream_t stream) {
  multiply_as<__nv_bfloat16>(matrix, x, stride, rows, e, stream);
}

}  // namespace mlxd::cuda_backend
