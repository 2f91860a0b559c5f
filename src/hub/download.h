#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hub/http.h"
#include "hub/model_choice.h"

namespace mlxd::hub {

// Where a download stands.
struct Progress {
  int files = 0, files_done = 0;
  std::int64_t bytes = 0, bytes_done = 0;  // of all files; those of earlier pulls count as done
  int checking = 0;                        // files that are there, and whose hash is being made
};
using Report = std::function<void(const Progress&)>;

struct WantedFile {
  RepositoryFile file;
  std::string url;
  std::filesystem::path blob;  // where it goes, in a folder that exists
};

// Fetches files, several connections at a time, until each lies under its blob's name with the hash
// that it must have. What was fetched of a file before, by this process or another, is not fetched
// again. Connections that break are tried again, after longer and longer pauses. `report` is called
// a few times a second, on the caller's thread.
//
// The caller holds the blobs' locks. Throws StartupError, or Interrupted; the next call then goes
// on with what is there.
void download(const Settings& settings, const HubId& id, const std::string& commit,
              std::vector<WantedFile> files, int connections, const Stopped& stopped,
              const Report& report);

}  // namespace mlxd::hub
