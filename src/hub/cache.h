#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hub/hub_id.h"
#include "hub/settings.h"

namespace mlxd::hub {

// A repository in the Hugging Face cache, laid out as huggingface_hub does:
//   models--owner--name/blobs/<hash>              the bytes of files
//                       refs/<revision>           the commit that a branch or tag is at
//                       snapshots/<commit>/<path> links to the blobs
//   .locks/models--owner--name/<hash>.lock        held by who writes that blob
// Throws StartupError when the disk refuses.
class CachedRepository {
 public:
  CachedRepository(const Settings& settings, const HubId& id);

  const std::filesystem::path& folder() const { return folder_; }
  const std::filesystem::path& locks() const { return locks_; }
  std::filesystem::path blob(const std::string& hash) const { return folder_ / "blobs" / hash; }
  std::filesystem::path snapshot(const std::string& commit) const {
    return folder_ / "snapshots" / commit;
  }

  // The commit that a revision was last seen at: a branch, a tag, or the commit itself.
  std::optional<std::string> commit_of(const std::string& revision) const;
  std::vector<std::string> commits() const;  // of the snapshots there
  std::vector<std::string> files_of(
      const std::string& commit) const;  // paths whose blobs are there

  void make_folders() const;
  void link(const std::string& commit, const std::string& path, const std::string& hash) const;
  void write_reference(const std::string& revision, const std::string& commit) const;

 private:
  std::filesystem::path folder_, locks_;
};

// The lock of a file that others may write, huggingface_hub among them: flock(2), so that it is let
// go when its process ends, however it ends.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& path);  // makes the file; holds nothing
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  bool try_lock();

 private:
  int descriptor_ = -1;
};

}  // namespace mlxd::hub
