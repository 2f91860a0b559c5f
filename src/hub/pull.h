// hub: models that lie elsewhere. Finds what an id means on the Hugging Face hub, fetches it into
// the cache that huggingface_hub uses too, and tells what is there. The commands of cli/ call it;
// nothing that serves requests does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "hub/download.h"
#include "hub/hub_id.h"
#include "hub/settings.h"

namespace mlxd::hub {

struct PullOptions {
  int connections = 8;
  Stopped stopped{};                                                        // none: never
  Report report = [](const Progress&) {};                                   // while files come
  std::function<void(const std::string&)> say = [](const std::string&) {};  // a line, now and then
};

struct Pulled {
  std::filesystem::path path;  // what find_cached finds
  std::string id;              // as text, with the quantisation that was chosen
  std::int64_t bytes = 0;      // of the model
  std::int64_t fetched = 0;    // of them, by this call
};

// Asks the hub what an id means today and fetches what is not there. One thread. Throws
// StartupError, or Interrupted.
Pulled pull(const HubId& id, const Settings& settings, const PullOptions& options);

// The .gguf file or the folder of a model that is there, whole, in the cache. Asks no network.
std::optional<std::filesystem::path> find_cached(const HubId& id, const Settings& settings);

// Whether a snapshot's folder has all weights that its index names.
bool has_all_weights(const std::filesystem::path& folder);

}  // namespace mlxd::hub
