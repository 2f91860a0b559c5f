#pragma once

#include <memory>

#include "cli/settings.h"
#include "engine/engine.h"
#include "serve/service.h"

namespace mlxd {

// A model ready to answer in this process: found, opened, loaded, its engine running. Throws
// StartupError or LoadError.
std::unique_ptr<ServedModel> load_local_model(const ModelSetting& model,
                                              const EngineSettings& settings,
                                              EngineObserver* observer = nullptr);

}  // namespace mlxd
