#pragma once

#include <vector>

#include "cli/settings.h"
#include "models/engine_settings.h"

namespace mlxd {

// The models that the settings ask for, at least one, those of the command line first: each to be
// loaded at the start or on demand and with its other names, checked against the settings that
// speak of them. Throws StartupError.
std::vector<ModelSetting> models_to_serve(const ServeSettings& settings);

}  // namespace mlxd
