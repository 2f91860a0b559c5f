#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mlxd {

// The other folders in a store's root: of models, settings and versions that were served once. They
// take room that the operator has bounded, so they go when it is needed, the one that was used
// longest ago first. Those that a process is using are not touched and do not count: each has a
// bound of its own. So a process looks for leftovers when it has loaded all its models. One thread
// at a time.
class Leftovers {
 public:
  // All folders of `root` that a store has made, but the one called `own`.
  Leftovers(const std::filesystem::path& root, const std::string& own);

  std::uint64_t bytes() const;
  bool empty() const { return folders_.empty(); }
  // Removes the oldest, unless it has come into use meanwhile; either way it is not counted any
  // more.
  void remove_oldest();

 private:
  struct Folder {
    std::filesystem::path path;
    std::uint64_t bytes = 0;
    std::filesystem::file_time_type used;
  };
  std::vector<Folder> folders_;  // the oldest last
};

}  // namespace mlxd
