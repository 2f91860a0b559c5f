#include "backend/cuda/linear.cuh"
#include "backend/cuda/linear_types.h"

namespace mlxd::cuda_backend {

void multiply_bf16(const MultiplyAll& call) { launch_for<__nv_bfloat16>(call.matrix.shape, call); }

}  // namespace mlxd::cuda_backend
