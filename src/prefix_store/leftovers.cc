#include "prefix_store/leftovers.h"

#include <algorithm>
#include <functional>
#include <system_error>

#include <spdlog/spdlog.h>

#include "prefix_store/store_folder.h"

namespace mlxd {
namespace {

namespace fs = std::filesystem;

// Calls `see` with every entry of a folder; what cannot be read is passed over.
template <class See>
void for_each_entry(const fs::path& folder, See see) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    see(*entry);
  }
}

}  // namespace

Leftovers::Leftovers(const fs::path& root, const std::string& own) {
  for_each_entry(root, [&](const fs::directory_entry& entry) {
    const std::string name = entry.path().filename().string();
    std::error_code error;
    if (name == own || !is_folder_name(name)) return;
    if (!fs::is_directory(entry.symlink_status(error)) || !lock_folder(entry.path())) return;
    Folder& folder = folders_.emplace_back();
    folder.path = entry.path();
    folder.used = fs::file_time_type::min();
    for_each_entry(folder.path, [&folder](const fs::directory_entry& file) {
      std::error_code odd;
      const std::uint64_t bytes = file.file_size(odd);
      if (odd) return;
      folder.bytes += bytes;
      const auto used = file.last_write_time(odd);
      if (!odd) folder.used = std::max(folder.used, used);
    });
  });
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
