#include "backend/cuda/linear.cuh"
#include "backend/cuda/linear_types.h"

namespace mlxd::cuda_backend {

void multiply_f16(const MultiplyAll& call) { launch_for<__half>(call.matrix.shape, call); }

}  // namespace mlxd::cuda_backend
