#include "model/model_lookup.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/folder.h"
#include "model/weights/gguf_split.h"

namespace mlxd {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Names of one path component, as models--org--name folders and revisions are.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

// <hub>/models--org--name, or nothing when the id is no org/name.
std::optional<fs::path> hub_folder(std::string_view id) {
  const std::size_t slash = id.find('/');
  const fs::path hub = hub_cache();
  if (slash == std::string_view::npos || hub.empty()) return std::nullopt;
  const std::string_view organisation = id.substr(0, slash), name = id.substr(slash + 1);
  if (!is_plain_name(organisation) || !is_plain_name(name)) return std::nullopt;
  return hub / fmt::format("models--{}--{}", organisation, name);
}

// The snapshot that the hub's client last resolved "main" to.
std::optional<fs::path> main_snapshot(const fs::path& model) {
  std::ifstream reference(model / "refs" / "main");
  std::string revision;
  if (!(reference >> revision) || !is_plain_name(revision)) return std::nullopt;
  return model / "snapshots" / revision;
}

// The .gguf file that a folder without config.json stands for; the folder itself otherwise.
fs::path single_gguf(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error) || fs::exists(path / "config.json", error)) return path;
  std::vector<fs::path> found;
  for (const fs::path& each : entries_of(path)) {
    if (each.extension() != ".gguf") continue;
    const auto part = gguf_part(each.filename().string());
    if (!part || part->number == 1) found.push_back(each);  // a split model counts once
  }
  if (found.size() > 1) {
    std::sort(found.begin(), found.end());
    std::vector<std::string> names;
    for (const fs::path& each : found) names.push_back(each.filename().string());
    throw StartupError(fmt::format("{}: has {} .gguf files; name one of them: {}", path.string(),
                                   found.size(), fmt::join(names, ", ")));
  }
  return found.empty() ? path : found.front();
}

bool is_model_folder(const fs::path& path) {
  std::error_code error;
  return fs::exists(path / "config.json", error);
}

void add_models_in(const fs::path& folder, const std::string& prefix, int depth,
                   std::vector<FoundModel>& found) {
  std::error_code error;
  for (const fs::path& each : entries_of(folder)) {
    const std::string name = each.filename().string();
    if (name.starts_with('.') || name.starts_with("mmproj")) continue;
    if (fs::is_directory(each, error)) {
      if (is_model_folder(each)) {
        found.push_back({prefix + name, each});
      } else if (depth > 0) {
        add_models_in(each, prefix + name + "/", depth - 1, found);
      }
    } else if (each.extension() == ".gguf") {
      const auto part = gguf_part(name);
      if (part && part->number != 1) continue;
      found.push_back({prefix + (part ? part->stem : each.stem().string()), each});
    }
  }
}

}  // namespace

std::vector<FoundModel> models_in(const fs::path& folder) {
  std::error_code error;
  entries_of(folder, error);
  if (error) {
    throw StartupError(
        fmt::format("{}: cannot be read as a folder: {}", folder.string(), error.message()));
  }
  std::vector<FoundModel> found;
  if (is_model_folder(folder)) {
    throw StartupError(fmt::format("{}: is a model itself, not a folder of models; give it as FILE",
                                   folder.string()));
  }
  add_models_in(folder, "", /*depth=*/1, found);
  std::ranges::sort(found, {}, &FoundModel::name);
  return found;
}

fs::path hub_home() {
  if (const std::string home = environment("HF_HOME"); !home.empty()) return home;
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) {
    return fs::path(cache) / "huggingface";
  }
  if (const std::string home = environment("HOME"); !home.empty()) {
    return fs::path(home) / ".cache/huggingface";
  }
  return {};
}

fs::path hub_cache() {
  if (const std::string hub = environment("HF_HUB_CACHE"); !hub.empty()) return hub;
  const fs::path home = hub_home();
  return home.empty() ? home : home / "hub";
}

fs::path find_model(std::string_view id) {
  std::vector<fs::path> places;
  if (!id.empty()) {
    places.emplace_back(id);
    if (const std::string folder = environment("MLXD_MODELS_DIR"); !folder.empty()) {
      places.push_back(fs::path(folder) / id);
    }
    if (const auto model = hub_folder(id)) {
      // Without a reference there is nothing to find, and this is the place to name.
      places.push_back(main_snapshot(*model).value_or(*model / "refs" / "main" / "*"));
    }
  }
  std::vector<std::string> searched;
  for (const fs::path& place : places) {
    std::error_code error;
    if (fs::exists(place, error)) return single_gguf(place);
    searched.push_back(place.string());
  }
  if (searched.empty()) throw StartupError("the model's name is empty");
  throw StartupError(
      fmt::format("no model \"{0}\" was found; searched: {1}. Give a path to a .gguf file or a "
                  "model folder, set "
                  "MLXD_MODELS_DIR, or download one from the hub: mlxd pull OWNER/NAME",
                  id, fmt::join(searched, ", ")));
}

}  // namespace mlxd
