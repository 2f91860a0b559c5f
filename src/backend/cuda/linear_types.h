// Products of each Element, in files of their own for the sake of the time that compiling takes.
#pragma once

#include "backend/cuda/expert_kernels.h"

namespace mlxd::cuda_backend {

struct MultiplyAll;
struct MultiplyExperts;

void multiply_f16(const MultiplyAll& call);
void multiply_bf16(const MultiplyAll& call);
void multiply_experts_f16(const MultiplyExperts& call);
void multiply_experts_bf16(const MultiplyExperts& call);

}  // namespace mlxd::cuda_backend
