#pragma once

#include <memory>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/kernels.h"
#include "base/load_progress.h"

namespace mlxd::cpu {

// cpu_backend.h's functions for a plan that has an encoder.
RunnerMemory foresee_encoder_memory(const ModelPlan& plan, const CpuOptions& options,
                                    const StepLimits& limits);
std::unique_ptr<ModelRunner> make_encoder_runner(const ModelPlan& plan, const Kernels& kernels,
                                                 const CpuOptions& options,
                                                 const LoadProgress& progress);

}  // namespace mlxd::cpu
