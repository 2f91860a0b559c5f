#include "cli/local_model.h"

#include <cstdio>
#include <new>
#include <utility>

#include "cli/local_engine.h"
#include "cli/version.h"
#include "model/model_lookup.h"
#include "serve/load_model.h"

namespace mlxd {

LocalModels::LocalModels(const std::vector<ModelSetting>& models, const EngineSettings& settings)
    : settings_(settings) {
  std::vector<ModelMemory> memory;
  for (const ModelSetting& model : models) {
    names_.push_back(model.name);
    files_.push_back(open_model(find_model(model.where)));
    memory.push_back(memory_of(model.name, files_.back(), settings));
  }
  memory_ = plan_memory(std::move(memory), settings);
}

std::unique_ptr<ServedModel> LocalModels::load(std::size_t index, EngineObserver* observer) {
  const ModelFiles files = std::move(files_[index]);
  try {
    return load_model(files, names_[index], {}, kVersion, [&] {
      return start_engine(files, memory_.models[index].kv_cache, settings_, observer);
    });
  } catch (const std::bad_alloc&) {
    throw StartupError(out_of_memory(memory_.models[index]));
  }
}

void print_warnings(const MemoryPlan& memory) {
  for (const std::string& warning : memory.warnings) {
    std::fprintf(stderr, "mlxd: warning: %s\n", warning.c_str());
  }
}

}  // namespace mlxd
