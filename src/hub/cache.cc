#include "hub/cache.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/folder.h"

namespace mlxd::hub {
namespace {

namespace fs = std::filesystem;

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    throw StartupError(
        fmt::format("{} cannot be made: {}; HF_HOME or HF_HUB_CACHE names another "
                    "place for models",
                    path.string(), error.message()));
  }
}

bool is_commit(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

CachedRepository::CachedRepository(const Settings& settings, const HubId& id) {
  const std::string name = fmt::format("models--{}--{}", id.owner, id.name);
  folder_ = settings.cache / name;
  locks_ = settings.cache / ".locks" / name;
}

std::optional<std::string> CachedRepository::commit_of(const std::string& revision) const {
  if (is_commit(revision)) return revision;
  std::ifstream file(folder_ / "refs" / revision);
  std::string commit;
  if (!(file >> commit) || !is_commit(commit)) return std::nullopt;
  return commit;
}

std::vector<std::string> CachedRepository::commits() const {
  std::vector<std::string> found;
  for (const fs::path& entry : entries_of(folder_ / "snapshots")) {
    const std::string name = entry.filename().string();
    if (is_commit(name)) found.push_back(name);
  }
  std::ranges::sort(found);
  return found;
}

std::vector<std::string> CachedRepository::files_of(const std::string& commit) const {
  std::vector<std::string> found;
  std::error_code error;
  const fs::path root = snapshot(commit);
  for (auto entry = fs::recursive_directory_iterator(root, error);
       entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code absent;  // a link whose blob is gone
    if (fs::is_regular_file(entry->path(), absent)) {
      found.push_back(entry->path().lexically_relative(root).generic_string());
    }
  }
  std::ranges::sort(found);
  return found;
}

void CachedRepository::make_folders() const {
  make_folder(folder_ / "blobs");
  make_folder(locks_);
}

void CachedRepository::link(const std::string& commit, const std::string& path,
                            const std::string& hash) const {
  const fs::path place = snapshot(commit) / path;
  make_folder(place.parent_path());
  const fs::path target = blob(hash).lexically_relative(place.parent_path());
  std::error_code error;
  if (fs::read_symlink(place, error) == target) return;
  const fs::path temporary =
      place.parent_path() / fmt::format(".mlxd-{}-{}", ::getpid(), hash.substr(0, 12));
  fs::remove(temporary, error);
  fs::create_symlink(target, temporary);
  fs::rename(temporary, place);
}

void CachedRepository::write_reference(const std::string& revision,
                                       const std::string& commit) const {
  if (is_commit(revision)) return;
  const fs::path place = folder_ / "refs" / revision;
  make_folder(place.parent_path());
  const fs::path temporary = fmt::format("{}.mlxd-{}", place.string(), ::getpid());
  {
    std::ofstream file(temporary, std::ios::trunc);
    if (!(file << commit).flush()) {
      throw StartupError(fmt::format("{} cannot be written", temporary.string()));
    }
  }
  fs::rename(temporary, place);
}

FileLock::FileLock(const fs::path& path) {
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) {
    throw StartupError(fmt::format("{} cannot be opened: {}", path.string(), std::strerror(errno)));
  }
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

bool FileLock::try_lock() {
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return true;
  // A file system without locks lets everybody in, as huggingface_hub does there.
  return errno != EWOULDBLOCK && errno != EINTR;
}

}  // namespace mlxd::hub
