#pragma once

#include <memory>
#include <string>

#include "backend/cpu/kv_cache.h"
#include "base/load_progress.h"
#include "engine/model_runner.h"
#include "model/model_plan.h"

namespace mlxd::cpu {

struct CpuOptions {
  int threads = 0;      // compute workers, the calling thread included; 0: the processor's cores
  std::string isa{};    // as Kernels::name; "": the best this processor runs
  int block_size = 16;  // tokens in one KV block
  KvFormat kv_format = KvFormat::f16;
};

// Throws LoadError as make_cpu_runner does for formats and shapes of matrices.
RunnerMemory foresee_cpu_memory(const ModelPlan& plan, const CpuOptions& options,
                                const StepLimits& limits);

// Repacks the plan's weights (slow: seconds for a large model) and starts the workers. To be called
// on the thread that will run the steps; it is worker 0. Throws LoadError for weights this backend
// cannot run, StartupError for an instruction set this processor lacks. `progress` (0..1) may be
// null; it is called on this thread.
std::unique_ptr<ModelRunner> make_cpu_runner(const ModelPlan& plan, const CpuOptions& options,
                                             const LoadProgress& progress = {});

}  // namespace mlxd::cpu
