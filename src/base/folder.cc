#include "base/folder.h"

namespace mlxd {

namespace fs = std::filesystem;

std::vector<fs::path> entries_of(const fs::path& folder, std::error_code& error) {
  std::vector<fs::path> entries;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    entries.push_back(entry->path());
  }
  return entries;
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code error;
  return entries_of(folder, error);
}

}  // namespace mlxd
