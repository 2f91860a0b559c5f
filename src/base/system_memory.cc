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

// This process' control group relative to the hierarchy: "/system.slice/mlxd.service", say.
std::filesystem::path own_group(const std::filesystem::path& root) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::/")) return line.substr(4);
  }
  return {};
}

void apply_limit(const std::filesystem::path& group, std::size_t swap, SystemMemory& memory) {
  const auto limit = read_limit(group / "memory.max");
  if (!limit) return;
  auto figures = read_figures(group / "memory.stat");
  // Contents of files are given up before anything is swapped.
  const std::size_t files = figures["active_file"] + figures["inactive_file"];
  const std::size_t current = read_limit(group / "memory.current").value_or(0);
  const std::size_t used = current > files ? current - files : 0;
  memory.available = std::min(memory.available, *limit > used ? *limit - used : 0);
  const std::size_t swap_limit = read_limit(group / "memory.swap.max").value_or(swap);
  memory.most = std::min(memory.most, *limit + std::min(swap, swap_limit));
}

}  // namespace

SystemMemory system_memory(const std::filesystem::path& root) {
  SystemMemory memory = machine_memory(root);
  const std::size_t swap = read_figures(root / "proc/meminfo")["SwapTotal:"] * 1024;
  // A group's limit holds for all below it.
  const std::filesystem::path top = root / "sys/fs/cgroup";
  std::filesystem::path group = top;
  apply_limit(group, swap, memory);
  for (const auto& part : own_group(root)) apply_limit(group /= part, swap, memory);
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
