#pragma once

#include <cstddef>
#include <memory>

#include "cli/settings.h"
#include "engine/engine.h"
#include "model/model_files.h"

namespace mlxd {

// Starts the engine of an opened model as the settings say, with the KV cache that a MemoryPlan
// gives it. Shows the progress of loading where stderr is a terminal. Throws StartupError or
// LoadError.
std::unique_ptr<Engine> start_engine(const ModelFiles& files, std::size_t kv_bytes,
                                     const EngineSettings& settings,
                                     EngineObserver* observer = nullptr);

}  // namespace mlxd
