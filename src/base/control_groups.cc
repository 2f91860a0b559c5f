#include "base/control_groups.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

namespace mlxd {
namespace {

namespace fs = std::filesystem;

bool lists(std::string_view names, std::string_view name) {
  while (!names.empty()) {
    const std::size_t comma = std::min(names.find(','), names.size());
    if (names.substr(0, comma) == name) return true;
    names.remove_prefix(std::min(comma + 1, names.size()));
  }
  return false;
}

// `top` and the folders below it on the way to `group` ("/system.slice/mlxd.service"). In a
// container that sees its host's names they are not there, and `top` is the container's own.
std::vector<fs::path> folders_to(const fs::path& top, const fs::path& group) {
  std::vector<fs::path> folders = {top};
  fs::path folder = top;
  for (const fs::path& part : group.relative_path()) folders.push_back(folder /= part);
  return folders;
}

// In processors; nothing where the group sets no limit.
std::optional<double> quota_of(const fs::path& folder, int version) {
  double quota = 0, period = 0;
  if (version == 2) {
    std::ifstream file(folder / "cpu.max");  // "150000 100000", or "max 100000" for no limit
    if (!(file >> quota >> period)) return std::nullopt;
  } else {
    std::ifstream quota_file(folder / "cpu.cfs_quota_us");  // -1 for no limit
    std::ifstream period_file(folder / "cpu.cfs_period_us");
    if (!(quota_file >> quota) || !(period_file >> period)) return std::nullopt;
  }
  if (quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

}  // namespace

ControlGroups control_groups(std::string_view resource, const fs::path& root) {
  const fs::path mounts = root / "sys/fs/cgroup";
  std::string unified;
  // Lines of "hierarchy:resources:group", that of v2 "0::group".
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string resources = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (resources.empty()) unified = group;
    if (!lists(resources, resource)) continue;
    // Mounted under the name of all its resources ("cpu,cpuacct"), most often also under each.
    for (const fs::path& top : {mounts / resource, mounts / resources}) {
      std::error_code failed;
      if (fs::is_directory(top, failed)) return {1, folders_to(top, group)};
    }
  }
  return {2, folders_to(mounts, unified)};
}

double cpu_quota(const fs::path& root) {
  const ControlGroups groups = control_groups("cpu", root);
  double least = 0;
  for (const fs::path& folder : groups.folders) {
    const std::optional<double> quota = quota_of(folder, groups.version);
    if (quota && (least == 0 || *quota < least)) least = *quota;
  }
  return least;
}

}  // namespace mlxd
