// multiply() of each Element, in a file of its own for the sake of the time that compiling takes.
#pragma once

#include "backend/cuda/kernels.h"

namespace mlxd::cuda_backend {

void multiply_f16(const DeviceMatrix& matrix, const void* x, int stride, int rows,
                  const Epilogue& epilogue, cudaStream_t stream);
void multiply_bf16(const DeviceMatrix& matrix, const void* x, int stride, int rows,
                   const Epilogue& epilogue, cudaStream_t stream);

}  // namespace mlxd::cuda_backend
