#pragma once

#include <memory>

#include "cli/settings.h"
#include "engine/engine.h"
#include "model/model_files.h"

namespace mlxd {

// Starts the engine of an opened model as the settings say: backend, KV cache within the memory
// limits. Shows the progress of loading where stderr is a terminal. Throws StartupError when the
// weights and buffers alone exceed --max-memory-gb (memory_plan.h).
std::unique_ptr<Engine> start_engine(const ModelFiles& files, const EngineSettings& settings,
                                     EngineObserver* observer = nullptr);

}  // namespace mlxd
