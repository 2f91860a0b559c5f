#include "cli/memory_plan.h"

#include <algorithm>
#include <variant>

#include <fmt/format.h>

#include "base/error.h"
#include "base/system_memory.h"
#include "engine/engine.h"
#include "prefix_store/prefix_store.h"

namespace mlxd {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

// Of what is left when the weights are loaded, the rest being for others: the cache fills up over
// time, and memory that a server does not need at once is better left to the page cache.
constexpr std::size_t kShareOfRest = 4;

// An upper bound for both backends: each keeps a row's values as 32-bit floats, and the inputs of
// products a second time as 8-bit numbers with their scales, once more for each worker.
std::size_t step_bytes(const ModelPlan& plan, const EngineSettings& settings) {
  std::size_t query = 0, kv = 0, hidden = 0;
  for (const auto& block : plan.blocks) {
    if (const auto* attention = std::get_if<AttentionBlock>(&block)) {
      query = std::max(query, static_cast<std::size_t>(attention->query.weight.rows));
      kv = std::max(kv, static_cast<std::size_t>(attention->key.weight.rows));
    } else {
      const auto& feed_forward = std::get<FeedForwardBlock>(block);
      hidden = std::max(hidden, static_cast<std::size_t>(feed_forward.gate.weight.rows));
    }
  }
  const auto model = static_cast<std::size_t>(plan.embed.table.columns);
  const std::size_t floats = 5 * model + 2 * query + 2 * kv + hidden;
  const std::size_t row = floats * 4 + (2 * model + query + hidden) * 4;
  const auto vocabulary = static_cast<std::size_t>(plan.head.weight.weight.rows);
  const auto rows = static_cast<std::size_t>(std::max(settings.step_tokens, settings.max_running));
  return rows * row + static_cast<std::size_t>(settings.max_running) * vocabulary * sizeof(float) +
         std::max(kPromptLogitBytes, vocabulary * sizeof(float));
}

}  // namespace

MemoryPlan plan_memory(const ModelFiles& files, const EngineSettings& settings) {
  MemoryPlan plan;
  plan.available = available_memory();
  const auto limit = static_cast<std::size_t>(settings.max_memory_gb * kGiB);
  for (const Tensor& tensor : files.plan.weights->all()) plan.weights += tensor.byte_size();
  plan.buffers = step_bytes(files.plan, settings);
  if (!settings.prefix_cache_dir.empty()) plan.buffers += kPrefixStoreBufferBytes;
  const std::size_t taken = plan.weights + plan.buffers;
  if (limit > 0 && taken >= limit) {
    throw StartupError(fmt::format(
        "{} takes {:.2f} GiB of weights and {:.2f} GiB of buffers, but --max-memory-gb "
        "allows {:.2f} GiB; raise it, serve a smaller model, or lower --step-tokens "
        "and --max-running",
        files.path.string(), plan.weights / kGiB, plan.buffers / kGiB, settings.max_memory_gb));
  }
  const std::size_t rest =
      plan.available > taken ? plan.available - taken : plan.available / kShareOfRest;
  plan.kv_cache = settings.kv_cache_gb > 0 ? static_cast<std::size_t>(settings.kv_cache_gb * kGiB)
                                           : rest / kShareOfRest;
  if (limit > 0) plan.kv_cache = std::min(plan.kv_cache, limit - taken);
  return plan;
}

}  // namespace mlxd
