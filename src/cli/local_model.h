#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "cli/memory_plan.h"
#include "cli/settings.h"
#include "engine/engine.h"
#include "model/model_files.h"
#include "serve/served_model.h"

namespace mlxd {

// Models that were found and opened, their headers read and checked, and the memory that they will
// take together: nothing of it is taken yet.
class LocalModels {
 public:
  // Throws StartupError or LoadError.
  LocalModels(const std::vector<ModelSetting>& models, const EngineSettings& settings);

  const MemoryPlan& memory() const { return memory_; }  // to be admitted before anything is loaded
  const ModelFiles& files(std::size_t index) const { return files_[index]; }

  // Makes a model ready to answer in this process: loaded, its engine running. Its files are closed
  // then. Throws StartupError or LoadError.
  std::unique_ptr<ServedModel> load(std::size_t index, EngineObserver* observer = nullptr);

 private:
  const EngineSettings settings_;
  std::vector<std::string> names_;
  std::vector<ModelFiles> files_;
  MemoryPlan memory_;
};

// To stderr, for commands that keep no log.
void print_warnings(const MemoryPlan& memory);

}  // namespace mlxd
