#pragma once

#include <memory>

#include "cli/settings.h"
#include "engine/engine.h"
#include "model/model_files.h"

namespace mlxd {

// Memory that could be used now without swapping, in bytes: what the system reports as available,
// within the limit of the control group, if any.
std::size_t available_memory();

// Starts the engine of an opened model as the settings say: backend, KV cache within the memory
// limits. Shows the progress of loading where stderr is a terminal. Throws StartupError when the
// weights alone exceed --max-memory-gb.
std::unique_ptr<Engine> start_engine(const ModelFiles& files, const EngineSettings& settings,
                                     EngineObserver* observer = nullptr);

}  // namespace mlxd
