#include "prefix_store/leftovers.h"

#include <algorithm>
#include <functional>
#include <system_error>

#include <spdlog/spdlog.h>

#include "base/folder.h"
#include "prefix_store/store_folder.h"

namespace mlxd {

namespace fs = std::filesystem;

Leftovers::Leftovers(const fs::path& root, const std::string& own) {
  for (const fs::path& entry : entries_of(root)) {
    const std::string name = entry.filename().string();
    std::error_code error;
    if (name == own || !is_folder_name(name)) continue;
    if (!fs::is_directory(fs::symlink_status(entry, error)) || !lock_folder(entry)) continue;
    Folder& folder = folders_.emplace_back();
    folder.path = entry;
    folder.used = fs::file_time_type::min();
    for (const fs::path& file : entries_of(folder.path)) {
      std::error_code odd;
      const std::uint64_t bytes = fs::file_size(file, odd);
      if (odd) continue;
      folder.bytes += bytes;
      const auto used = fs::last_write_time(file, odd);
      if (!odd) folder.used = std::max(folder.used, used);
    }
  }
  std::ranges::sort(folders_, std::greater(), &Folder::used);
}

std::uint64_t Leftovers::bytes() const {
  std::uint64_t sum = 0;
  for (const Folder& folder : folders_) sum += folder.bytes;
  return sum;
}

void Leftovers::remove_oldest() {
  const Folder oldest = folders_.back();
  folders_.pop_back();
  const Descriptor lock = lock_folder(oldest.path);
  if (!lock) return;
  if (const std::error_code error = remove_folder(oldest.path)) {
    spdlog::warn("the prefix cache's old folder {} cannot be removed: {}", oldest.path.string(),
                 error.message());
  } else {
    spdlog::info("the prefix cache's old folder {} made room for new blocks", oldest.path.string());
  }
}

}  // namespace mlxd
