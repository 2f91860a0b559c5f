#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/load_progress.h"
#include "engine/engine.h"
#include "model/model_files.h"
#include "models/engine_settings.h"

namespace mlxd {

// Starts the engine of an opened model as the settings say, with the KV cache that a MemoryPlan
// gives it. `version` is the program's. `progress` is told on the thread of inference. Throws
// StartupError or LoadError.
std::unique_ptr<Engine> start_engine(const ModelFiles& files, std::size_t kv_bytes,
                                     const EngineSettings& settings, std::string_view version,
                                     EngineObserver* observer = nullptr,
                                     const LoadProgress& progress = {});

}  // namespace mlxd
