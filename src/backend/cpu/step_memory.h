#pragma once

#include <cstddef>

#include "engine/model_runner.h"
#include "model/model_plan.h"

namespace mlxd::cpu {

// What ForwardPass::buffer_bytes() comes to at most in a model's context, the logits it hands out
// beside it: foretold from the shapes alone. Bytes.
std::size_t step_memory(const ModelPlan& plan, const StepLimits& limits, int workers, bool unit);

}  // namespace mlxd::cpu
