#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/model_files.h"
#include "models/engine_settings.h"
#include "models/memory_plan.h"
#include "models/model_pool.h"
#include "serve/served_model.h"

namespace mlxd {

// Models that were found and opened, their headers read and checked, and the memory that they will
// take together: nothing of it is taken yet.
class LocalModels {
 public:
  // `version` is the program's. Throws StartupError or LoadError.
  LocalModels(const std::vector<ModelSetting>& models, EngineSettings settings,
              std::string version);

  // How many could be opened: all but those that were to be left out if they could not, of which
  // the plan has a warning each.
  std::size_t size() const { return sources_.size(); }
  const ModelSetting& setting(std::size_t index) const;  // of a model that was not taken
  const MemoryPlan& memory() const { return memory_; }   // to be admitted before anything is loaded
  const ModelFiles& files(std::size_t index) const;      // of a model that was not taken

  // A model for a pool: pinned unless it is on demand, with its tokeniser and template, and the way
  // to its engine. Its files are closed whenever it is loaded, and opened again to load it again.
  // Each model once. Throws LoadError for a tokeniser or template that cannot be used.
  PooledModel take(std::size_t index, EngineObserver* observer = nullptr);

  // Makes a model ready to answer in this process, without a pool. Throws StartupError or
  // LoadError.
  std::unique_ptr<ServedModel> load(std::size_t index, const LoadProgress& progress = {});

 private:
  struct Source;

  ModelMemory open(const ModelSetting& model, std::vector<std::string>& warnings);

  const EngineSettings settings_;
  const std::string version_;
  std::vector<std::shared_ptr<Source>> sources_;
  MemoryPlan memory_;
};

}  // namespace mlxd
