#include "models/local_models.h"

#include <algorithm>
#include <filesystem>
#include <new>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "backend/backends.h"
#include "base/error.h"
#include "model/model_lookup.h"
#include "models/start_engine.h"
#include "serve/load_model.h"

namespace mlxd {

// Where a model comes from, each time that it is loaded.
struct LocalModels::Source {
  ModelSetting setting;
  std::filesystem::path path;
  int context = 0;  // tokens at most; 0: the model's own
  std::string fingerprint;
  std::optional<ModelFiles> files;

  // Returns the context that the model itself has.
  int open() {
    files = open_model(path);
    int& length = files->plan.config.context_length;
    const int own = length;
    if (context > 0) length = std::min(length, context);
    return own;
  }

  // The files as they were when the process began: what was learnt of them then still holds.
  ModelFiles take_files() {
    if (!files) open();
    ModelFiles taken = *std::exchange(files, std::nullopt);
    if (taken.fingerprint != fingerprint) {
      throw LoadError(fmt::format(
          "{} is not the file that it was when this process began: start it again", path.string()));
    }
    return taken;
  }
};

LocalModels::LocalModels(const std::vector<ModelSetting>& models, EngineSettings settings,
                         std::string version)
    : settings_(std::move(settings)), version_(std::move(version)) {
  std::vector<ModelMemory> memory;
  std::vector<std::string> warnings = backend_warnings(settings_.backend);
  for (const ModelSetting& model : models) {
    try {
      memory.push_back(open(model, warnings));
    } catch (const StartupError& error) {
      if (!model.left_out) throw;
      warnings.push_back(fmt::format("{} is left out: {}", model.name, error.what()));
    }
  }
  memory_ = plan_memory(std::move(memory), settings_, memory_for(settings_.backend));
  memory_.warnings.insert(memory_.warnings.end(), warnings.begin(), warnings.end());
}

ModelMemory LocalModels::open(const ModelSetting& model, std::vector<std::string>& warnings) {
  auto source = std::make_shared<Source>();
  source->setting = model;
  source->path = find_model(model.where);
  source->context = settings_.context;
  const int own_context = source->open();
  source->fingerprint = source->files->fingerprint;
  if (settings_.context > own_context && !model.left_out) {
    warnings.push_back(
        fmt::format("--context asks for {} tokens, but {} has a context of {}, and keeps it",
                    settings_.context, model.name, own_context));
  }
  ModelMemory memory = memory_of(model.name, *source->files, settings_);
  memory.on_demand = model.on_demand;
  sources_.push_back(std::move(source));
  return memory;
}

const ModelSetting& LocalModels::setting(std::size_t index) const {
  return sources_[index]->setting;
}

const ModelFiles& LocalModels::files(std::size_t index) const { return *sources_[index]->files; }

PooledModel LocalModels::take(std::size_t index, EngineObserver* observer) {
  const std::shared_ptr<Source> source = std::move(sources_[index]);
  const ModelMemory& memory = memory_.models[index];
  PooledModel taken;
  taken.model = make_served_model(*source->files, source->setting.name, version_,
                                  backend_name(settings_.backend), settings_.parsers);
  taken.model.aliases = source->setting.aliases;
  taken.bytes = memory.total();
  taken.pinned = !source->setting.on_demand;
  if (source->setting.on_demand) source->files.reset();  // until somebody asks for it
  taken.load = [source, memory, observer, settings = settings_,
                version = version_](const LoadProgress& progress) {
    const ModelFiles files = source->take_files();
    try {
      return start_engine(files, memory.kv_cache, settings, version, observer, progress);
    } catch (const std::bad_alloc&) {
      throw StartupError(out_of_memory(memory));
    }
  };
  return taken;
}

std::unique_ptr<ServedModel> LocalModels::load(std::size_t index, const LoadProgress& progress) {
  PooledModel taken = take(index);
  auto model = std::make_unique<ServedModel>(std::move(taken.model));
  model->engine = taken.load(progress);
  return model;
}

}  // namespace mlxd
