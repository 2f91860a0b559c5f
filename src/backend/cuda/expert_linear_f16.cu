#include "backend/cuda/linear.cuh"
#include "backend/cuda/linear_types.h"

namespace mlxd::cuda_backend {

void multiply_experts_f16(const MultiplyExperts& call) {
  launch_for<__half>(call.matrix.all.shape, call);
}

}  // namespace mlxd::cuda_backend
