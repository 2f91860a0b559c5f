#include "models/start_engine.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "backend/backends.h"
#include "base/error.h"
#include "prefix_store/digest.h"

namespace mlxd {
namespace {

// What a model computes follows from its headers and its weights, and from this program. All bytes
// count: a fine-tuned model's headers may be those of its origin.
std::string describe(const ModelFiles& files, std::string_view version) {
  std::vector<std::string> sums;
  for (const Tensor& tensor : files.plan.weights->all()) {
    std::string& sum = sums.emplace_back(tensor.name);
    for (const auto part : {tensor.data, tensor.scales, tensor.biases}) {
      sum += ' ' + to_hex(checksum(part));
    }
  }
  std::ranges::sort(sums);
  std::string text;
  for (const std::string& sum : sums) text += sum + '\n';
  return fmt::format("mlxd {}\nmodel {}, weights {}", version, files.fingerprint,
                     to_hex(sha256(std::as_bytes(std::span(text)))));
}

PrefixDiskOptions prefix_disk(const ModelFiles& files, const EngineSettings& settings,
                              std::string_view version) {
  PrefixDiskOptions options;
  if (settings.prefix_cache_dir.empty()) return options;
  if (!settings.prefix_cache) {
    throw StartupError(
        "--prefix-cache-dir keeps the prefix cache, which --prefix-cache off has "
        "switched off: leave out one of them");
  }
  options.directory = settings.prefix_cache_dir;
  options.max_bytes = static_cast<std::uint64_t>(settings.prefix_cache_disk_gb * (1 << 30));
  options.model = [&files, version] { return describe(files, version); };
  return options;
}

}  // namespace

std::unique_ptr<Engine> start_engine(const ModelFiles& files, std::size_t kv_bytes,
                                     const EngineSettings& settings, std::string_view version,
                                     EngineObserver* observer, const LoadProgress& progress) {
  EngineOptions options;
  options.kv_bytes = kv_bytes;
  options.max_running_sequences = settings.max_running;
  options.max_queued_requests = settings.max_queued;
  options.max_queued_tokens = settings.max_queued_tokens;
  options.max_step_tokens = settings.step_tokens;
  options.hang_seconds = settings.hang_timeout;
  options.prefix_cache = settings.prefix_cache;
  options.prefix_disk = prefix_disk(files, settings, version);
  options.max_draft_tokens = settings.max_draft_tokens;
  return std::make_unique<Engine>(
      options, [&] { return make_runner(files.plan, settings.backend, progress); }, observer);
}

}  // namespace mlxd
