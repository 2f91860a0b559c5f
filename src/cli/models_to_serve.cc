#include "cli/models_to_serve.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "model/model_lookup.h"

namespace mlxd {
namespace {

auto find(auto& models, std::string_view name) {
  return std::ranges::find(models, name, &ModelSetting::name);
}

void check_listed(const std::vector<ModelSetting>& models, std::string_view name,
                  std::string_view option) {
  if (find(models, name) != models.end()) return;
  throw StartupError(
      fmt::format("{} names {}, which neither --model nor --model-folder has", option, name));
}

void check_names(const std::vector<ModelSetting>& models) {
  for (std::size_t i = 1; i < models.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (models[i].name != models[j].name) continue;
      throw StartupError(fmt::format("two models are called {}; name them, as in --model {}=...",
                                     models[i].name, models[i].name));
    }
  }
}

// A model of the command line goes before one of a folder that is called the same.
void add_folders(const ServeSettings& settings, std::vector<ModelSetting>& models) {
  for (const std::string& folder : split_list(settings.model_folders)) {
    const std::vector<FoundModel> found = models_in(folder);
    if (found.empty()) {
      throw StartupError(
          fmt::format("{}: there is no .gguf file and no model folder in it", folder));
    }
    for (const FoundModel& model : found) {
      if (find(models, model.name) != models.end()) continue;
      models.push_back(
          {.name = model.name, .where = model.path.string(), .on_demand = true, .left_out = true});
    }
  }
}

// Those that are named are loaded at the start, and all others on demand.
void preload(const ServeSettings& settings, std::vector<ModelSetting>& models) {
  const std::vector<std::string> names = split_list(settings.preload_models);
  if (names.empty()) return;
  const bool none =
      names.size() == 1 && names.front() == "none" && find(models, "none") == models.end();
  for (const std::string& name : names) {
    if (!none) check_listed(models, name, "--preload-models");
  }
  for (ModelSetting& model : models) {
    model.on_demand = std::ranges::find(names, model.name) == names.end();
    if (!model.on_demand) model.left_out = false;
  }
}

void add_aliases(const ServeSettings& settings, std::vector<ModelSetting>& models) {
  const auto add = [&models](const std::string& model, const std::string& alias) {
    ModelSetting& named = *find(models, model);
    named.aliases.push_back(alias);
    named.left_out = false;  // somebody counts on it
  };
  if (!settings.default_model.empty()) {
    check_listed(models, settings.default_model, "--default-model");
    if (find(models, "default") == models.end()) add(settings.default_model, "default");
  }
  for (const std::string& text : split_list(settings.aliases)) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw StartupError(
          fmt::format("--alias {}: give NAME=MODEL, as in gpt-4o={}", text, models.front().name));
    }
    const std::string name = text.substr(0, equals);
    const std::string model = text.substr(equals + 1);
    if (name.find('*') < name.size() - 1) {
      throw StartupError(fmt::format("--alias {}: a * may stand at the end of a name alone", text));
    }
    check_listed(models, model, "--alias");
    if (find(models, name) != models.end()) {
      throw StartupError(fmt::format("--alias {}: a model is called {} already", text, name));
    }
    for (const ModelSetting& other : models) {
      if (std::ranges::find(other.aliases, name) == other.aliases.end()) continue;
      throw StartupError(fmt::format("--alias {}: {} is {} already", text, name, other.name));
    }
    add(model, name);
  }
}

}  // namespace

std::vector<ModelSetting> models_to_serve(const ServeSettings& settings) {
  std::vector<ModelSetting> models = listed_models(settings.models);
  check_names(models);
  add_folders(settings, models);
  if (models.empty()) {
    throw StartupError(no_model_is_named("serve") + "; scripts/run serves a small default one");
  }
  const auto most = static_cast<std::size_t>(settings.max_models);
  if (most > 0 && models.size() > most) {
    throw StartupError(
        fmt::format("{} models are listed, but --max-models allows {}", models.size(), most));
  }
  preload(settings, models);
  add_aliases(settings, models);
  return models;
}

}  // namespace mlxd
