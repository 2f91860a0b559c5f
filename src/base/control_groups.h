#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace mlxd {

// Linux's control groups that hold this process for one resource ("memory", "cpu"), as folders
// below `root`, the outermost first: a group's limit holds for all below it. `version` tells which
// files a folder has: those of cgroup v1, where that hierarchy has the resource, else of v2.
// Nothing where the system does not tell, and on other systems.
struct ControlGroups {
  int version = 2;
  std::vector<std::filesystem::path> folders;
};
ControlGroups control_groups(std::string_view resource, const std::filesystem::path& root = "/");

// Processors' worth of time that the groups of this process grant it, 0.5 for half a processor's;
// 0 where they set no limit.
double cpu_quota(const std::filesystem::path& root = "/");

}  // namespace mlxd
