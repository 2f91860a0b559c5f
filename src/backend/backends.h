// backend: the devices that execute a ModelPlan, each in a folder of its own behind ModelRunner,
// and here the choice between them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/load_progress.h"
#include "base/system_memory.h"
#include "engine/model_runner.h"
#include "model/model_plan.h"

namespace mlxd {

struct BackendOptions {
  std::string name;  // "cpu", "cuda", "mlx"; "auto": cuda where there is a card; "": the default
  int threads = 0;   // cpu
  std::string isa;   // cpu
  std::string kv_cache_type;  // "f16", "int8" (cpu); "": "f16"
};

// The backend that `options` ends up with.
std::string backend_name(const BackendOptions& options);

// The names of the backends in this build, for --version.
std::string available_backends();

// What is likely to make the backend that `options` choose slow here: sentences for the operator.
std::vector<std::string> backend_warnings(const BackendOptions& options);

// The memory that its models are to share: of the card, or of the system.
SystemMemory memory_for(const BackendOptions& options);

// What the runner of `plan` will hold, by its headers alone. Throws as make_runner does.
RunnerMemory foresee_memory(const ModelPlan& plan, const BackendOptions& options,
                            const StepLimits& limits);

// Makes the runner of `plan`; to be called on the inference thread. `plan` must outlive the call,
// and so must `progress`.
std::unique_ptr<ModelRunner> make_runner(const ModelPlan& plan, const BackendOptions& options,
                                         const LoadProgress& progress = {});

}  // namespace mlxd
