#include "cli/local_engine.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include "backend/backends.h"
#include "base/error.h"

namespace mlxd {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

std::size_t linux_available_memory() {
  std::size_t available = std::numeric_limits<std::size_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    if (key == "MemAvailable:") {
      std::size_t kib = 0;
      meminfo >> kib;
      available = kib * 1024;
      break;
    }
    meminfo.ignore(256, '\n');
  }
  // A container's limit (cgroup v2); "max" when there is none.
  std::size_t limit = 0, used = 0;
  std::ifstream limit_file("/sys/fs/cgroup/memory.max"), used_file("/sys/fs/cgroup/memory.current");
  if (limit_file >> limit && used_file >> used && limit > used) {
    available = std::min(available, limit - used);
  }
  return available;
}

void show_progress(double done) {
  std::fprintf(stderr, "\rloading weights %3.0f%%%s", done * 100, done >= 1 ? "\r\x1b[K" : "");
  std::fflush(stderr);
}

}  // namespace

std::size_t available_memory() {
#ifdef __APPLE__
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGE_SIZE);
  return static_cast<std::size_t>(pages) * static_cast<std::size_t>(page) / 2;
#else
  return linux_available_memory();
#endif
}

std::unique_ptr<Engine> start_engine(const ModelFiles& files, const EngineSettings& settings,
                                     EngineObserver* observer) {
  std::size_t weights = 0;
  for (const Tensor& tensor : files.plan.weights->all()) weights += tensor.byte_size();
  const auto limit = static_cast<std::size_t>(settings.max_memory_gb * kGiB);
  if (limit > 0 && weights >= limit) {
    throw StartupError(
        fmt::format("{} holds {:.2f} GiB of weights, but --max-memory-gb allows {:.2f} GiB; raise "
                    "it or serve a smaller model",
                    files.path.string(), weights / kGiB, settings.max_memory_gb));
  }
  const std::size_t free = available_memory();
  std::size_t kv = settings.kv_cache_gb > 0 ? static_cast<std::size_t>(settings.kv_cache_gb * kGiB)
                                            : (free > weights ? (free - weights) / 4 : free / 4);
  if (limit > 0) kv = std::min(kv, limit - weights);

  EngineOptions options;
  options.kv_bytes = kv;
  options.max_running_sequences = settings.max_running;
  options.max_queued_requests = settings.max_queued;
  options.max_queued_tokens = settings.max_queued_tokens;
  options.max_step_tokens = settings.step_tokens;
  options.hang_seconds = settings.hang_timeout;
  options.prefix_cache = settings.prefix_cache;
  options.max_draft_tokens = settings.max_draft_tokens;
  const auto progress = ::isatty(STDERR_FILENO) ? &show_progress : nullptr;
  return std::make_unique<Engine>(
      options, [&] { return make_runner(files.plan, settings.backend, progress); }, observer);
}

}  // namespace mlxd
