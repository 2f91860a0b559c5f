#include "base/system_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <string>

#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/control_groups.h"

namespace mlxd {

#ifdef __APPLE__

SystemMemory system_memory(const std::filesystem::path&) {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGE_SIZE);
  return {static_cast<std::size_t>(pages) * static_cast<std::size_t>(page) / 2,
          std::numeric_limits<std::size_t>::max()};  // its swap grows with the disk
}

std::size_t resident_memory() { return 0; }

#else

namespace {

constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();
// cgroup v1 writes no limit as the largest multiple of a page in 63 bits.
constexpr std::size_t kUnlimitedV1 = std::size_t{1} << 62;

// A file of "name value" lines, such as /proc/meminfo and memory.stat.
std::map<std::string, std::size_t> read_figures(const std::filesystem::path& path) {
  std::map<std::string, std::size_t> figures;
  std::ifstream file(path);
  std::size_t value = 0;
  for (std::string name; file >> name >> value; file.ignore(256, '\n')) figures[name] = value;
  return figures;
}

// Nothing where there is no such file, or no limit ("max").
std::optional<std::size_t> read_limit(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::size_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

SystemMemory machine_memory(const std::filesystem::path& root) {
  auto kib = read_figures(root / "proc/meminfo");
  if (kib.count("MemAvailable:") == 0) return {kUnlimited, kUnlimited};
  return {kib["MemAvailable:"] * 1024, (kib["MemTotal:"] + kib["SwapTotal:"]) * 1024};
}

// What a group's folder tells of its memory, in the words of its version.
struct GroupFiles {
  const char *limit, *current, *swap;
  const char *active_file, *inactive_file;  // of memory.stat, with the groups below it
};
constexpr GroupFiles kFilesV1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", nullptr,
                                 "total_active_file", "total_inactive_file"};
constexpr GroupFiles kFilesV2 = {"memory.max", "memory.current", "memory.swap.max", "active_file",
                                 "inactive_file"};

void apply_limit(const std::filesystem::path& group, const GroupFiles& files, std::size_t swap,
                 SystemMemory& memory) {
  const auto limit = read_limit(group / files.limit);
  if (!limit || *limit >= kUnlimitedV1) return;
  auto figures = read_figures(group / "memory.stat");
  // Contents of files are given up before anything is swapped.
  const std::size_t cached = figures[files.active_file] + figures[files.inactive_file];
  const std::size_t current = read_limit(group / files.current).value_or(0);
  const std::size_t used = current > cached ? current - cached : 0;
  memory.available = std::min(memory.available, *limit > used ? *limit - used : 0);
  if (files.swap != nullptr) swap = std::min(swap, read_limit(group / files.swap).value_or(swap));
  memory.most = std::min(memory.most, *limit + swap);
}

}  // namespace

SystemMemory system_memory(const std::filesystem::path& root) {
  SystemMemory memory = machine_memory(root);
  const std::size_t swap = read_figures(root / "proc/meminfo")["SwapTotal:"] * 1024;
  const ControlGroups groups = control_groups("memory", root);
  for (const auto& group : groups.folders) {
    apply_limit(group, groups.version == 1 ? kFilesV1 : kFilesV2, swap, memory);
  }
  return memory;
}

std::size_t resident_memory() {
  std::size_t pages = 0, resident = 0;
  std::ifstream statm("/proc/self/statm");
  if (!(statm >> pages >> resident)) return 0;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGE_SIZE));
}

#endif

void release_free_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace mlxd
