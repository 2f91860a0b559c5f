// backend/mlx: the model on MLX (Metal, CUDA, or the CPU as the reference). Every array is made,
// evaluated and freed on the inference thread.
#pragma once

#include <memory>
#include <string>

#include "base/load_progress.h"
#include "engine/model_runner.h"
#include "model/model_plan.h"

namespace mlxd::mlx_backend {

struct MlxOptions {
  int block_size = 16;  // tokens in one KV block
  std::string device;   // "gpu", "cpu"; "": gpu where there is one
};

// Whether this build contains the backend. Without it the functions below throw StartupError.
bool available();

// Whether it would find a GPU to run on.
bool has_gpu();

// Throws StartupError for a device that is not there.
RunnerMemory foresee_mlx_memory(const ModelPlan& plan, const MlxOptions& options,
                                const StepLimits& limits);

// To be called on the inference thread, which then owns every array. Throws LoadError for weights
// this backend cannot run, StartupError for a device that is not there.
//
// MLX picks its kernels by the number of rows, so here a row's logits are the same bits only for
// the same shape of batch; in another batch, or another cut of the prompt, they agree to rounding.
std::unique_ptr<ModelRunner> make_mlx_runner(const ModelPlan& plan, const MlxOptions& options,
                                             const LoadProgress& progress = {});

}  // namespace mlxd::mlx_backend
