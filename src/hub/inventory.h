#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include "hub/hub_id.h"
#include "hub/settings.h"

namespace mlxd::hub {

// A model in the cache.
struct CachedModel {
  std::string id;              // as it is named to a command: with its quantisation, and with its
                               // revision where it is not what main is at
  std::string quant;           // "Q4_K_M", "4 bits", ""
  std::string family;          // "qwen3", as its files say; "" when they cannot be read
  std::int64_t bytes = 0;      // of its files
  bool complete = true;        // all of it is there
  std::filesystem::path path;  // what to open
  std::time_t modified = 0;    // when it came
};

// All models there, by id. What cannot be read is left out.
std::vector<CachedModel> list_models(const Settings& settings);

struct Removed {
  std::vector<std::string> models;  // ids
  std::int64_t bytes = 0;           // of the disk
};

// Removes what an id means: a repository with all that is kept of it, or one quantisation, or one
// revision. Blobs that another snapshot links to stay. Throws StartupError when there is nothing of
// that name, or when a process writes there.
Removed remove_models(const HubId& id, const Settings& settings);

}  // namespace mlxd::hub
