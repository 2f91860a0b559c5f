#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backend/mlx/layers.h"
#include "backend/mlx/matrix.h"
#include "engine/model_runner.h"
#include "model/model_plan.h"

namespace mlxd::mlx_backend {

// The ModelRunner of a plan that has an encoder. `stream` is the default of this thread, which
// makes, evaluates and frees every array. `type`: of what matrices read.
std::unique_ptr<ModelRunner> make_encoder_runner(const ModelPlan& plan, int block_size,
                                                 mx::Stream stream, mx::Dtype type);

// Of the values of the largest step: a bound.
std::size_t encoder_step_memory(const ModelPlan& plan, const StepLimits& limits);

}  // namespace mlxd::mlx_backend
