#pragma once

#include <optional>

#include "base/error.h"
#include "engine/cache_plan.h"
#include "engine/generate_job.h"
#include "engine/model_runner.h"

namespace mlxd {

// Why a job can never be computed; none: it can.
std::optional<Error> find_mistake(const GenerateJob& job, const RunnerInfo& info,
                                  const CachePlan& plan);

}  // namespace mlxd
