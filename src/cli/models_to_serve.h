#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/settings.h"
#include "models/engine_settings.h"

namespace mlxd {

struct ModelsToServe {
  std::vector<ModelSetting> models;  // at least one; those of the command line first
  std::map<std::string, std::vector<std::string>> aliases;  // by the names of models

  std::vector<std::string> aliases_of(const std::string& name) const {
    const auto found = aliases.find(name);
    return found == aliases.end() ? std::vector<std::string>() : found->second;
  }
};

// The models that the settings ask for, each to be loaded at the start or on demand, checked
// against the settings that speak of them. Throws StartupError.
ModelsToServe models_to_serve(const ServeSettings& settings);

}  // namespace mlxd
