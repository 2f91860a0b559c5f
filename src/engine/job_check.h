#pragma once

#include <optional>

#include "base/error.h"
#include "engine/engine_options.h"
#include "engine/generate_job.h"
#include "engine/model_runner.h"

namespace mlxd {

// As many KV blocks as the settings give, and no more than the running sequences could ever fill.
// Throws StartupError where the settings give none.
int choose_kv_blocks(const EngineOptions& options, const RunnerInfo& info);

// Why a job can never be computed; none: it can.
std::optional<Error> find_mistake(const GenerateJob& job, const EngineOptions& options,
                                  const RunnerInfo& info, int kv_blocks);

}  // namespace mlxd
