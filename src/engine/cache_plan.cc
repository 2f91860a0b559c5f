#include "engine/cache_plan.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include <fmt/format.h>

#include "base/error.h"

namespace mlxd {
namespace {

constexpr std::int64_t kMostBlocks = std::numeric_limits<int>::max() / 4;

class Planner {
 public:
  Planner(const EngineOptions& options, const RunnerInfo& info)
      : options_(options),
        info_(info),
        longest_(blocks_for(info.context_length)),
        has_full_(std::ranges::count(info.kv, 0, &KvGroup::window) > 0) {}

  CachePlan plan() {
    CachePlan plan;
    for (const KvGroup& group : info_.kv) {
      const std::int64_t reserve =
          group.window == 0 ? 0 : std::min(blocks_for(group.window) + 2, longest_ + 1);
      plan.reserve.push_back(static_cast<int>(reserve));
    }
    plan.max_sequences = options_.max_running_sequences;
    plan.size.blocks.assign(info_.kv.size(), 0);
    options_.kv_blocks > 0 ? windows_by_blocks(plan) : windows_by_bytes(plan);
    const std::int64_t full = full_blocks(plan.size.bytes(info_));
    for (std::size_t group = 0; group < info_.kv.size(); ++group) {
      if (info_.kv[group].window == 0) plan.size.blocks[group] = static_cast<int>(full);
    }
    plan.sequence_blocks = static_cast<int>(has_full_ ? full : longest_);
    return plan;
  }

 private:
  std::int64_t blocks_for(std::int64_t tokens) const {
    return (tokens + info_.block_size - 1) / info_.block_size;
  }
  // Beside the reserves: for windows that the prefix cache keeps, and a step.
  std::int64_t extra(int reserve, int sequences) const {
    return std::int64_t{reserve} * sequences + blocks_for(options_.max_step_tokens);
  }
  int bounded(std::int64_t blocks, int reserve, int sequences) const {
    const std::int64_t most = std::max<std::int64_t>(longest_, reserve) * sequences;
    return static_cast<int>(std::min({blocks, most, kMostBlocks}));
  }

  void windows_by_bytes(CachePlan& plan) const {
    const std::size_t limit = has_full_ ? options_.kv_bytes / 2 : options_.kv_bytes;
    std::size_t reserve_bytes = 0;  // of one sequence
    for (std::size_t group = 0; group < info_.kv.size(); ++group) {
      reserve_bytes += info_.kv[group].block_bytes * static_cast<std::size_t>(plan.reserve[group]);
    }
    if (reserve_bytes > 0) {
      plan.max_sequences =
          static_cast<int>(std::clamp<std::size_t>(limit / reserve_bytes, 1, plan.max_sequences));
    }
    const std::size_t reserved = reserve_bytes * static_cast<std::size_t>(plan.max_sequences);
    double extra_bytes = 0;
    for (std::size_t group = 0; group < info_.kv.size(); ++group) {
      if (info_.kv[group].window == 0) continue;
      extra_bytes += static_cast<double>(info_.kv[group].block_bytes) *
                     static_cast<double>(extra(plan.reserve[group], plan.max_sequences));
    }
    const double left = limit > reserved ? static_cast<double>(limit - reserved) : 0;
    const double share = extra_bytes > left ? left / extra_bytes : 1;
    for (std::size_t group = 0; group < info_.kv.size(); ++group) {
      if (info_.kv[group].window == 0) continue;
      const int reserve = plan.reserve[group];
      const double more = share * static_cast<double>(extra(reserve, plan.max_sequences));
      plan.size.blocks[group] =
          bounded(std::int64_t{reserve} * plan.max_sequences + static_cast<std::int64_t>(more),
                  reserve, plan.max_sequences);
    }
  }

  void windows_by_blocks(CachePlan& plan) const {
    const int sequences = plan.max_sequences;
    for (std::size_t group = 0; group < info_.kv.size(); ++group) {
      if (info_.kv[group].window == 0) continue;
      const int reserve = plan.reserve[group];
      const std::int64_t wanted = std::int64_t{reserve} * sequences + extra(reserve, sequences);
      const int blocks =
          std::max(std::min(bounded(wanted, reserve, sequences), options_.kv_blocks), reserve);
      plan.size.blocks[group] = blocks;
      plan.max_sequences = std::min(plan.max_sequences, blocks / reserve);
    }
  }

  std::int64_t full_blocks(std::size_t windows) const {
    if (options_.kv_blocks > 0) return options_.kv_blocks;
    std::size_t block_bytes = 0;
    for (const KvGroup& group : info_.kv) block_bytes += group.window == 0 ? group.block_bytes : 0;
    if (windows + block_bytes > options_.kv_bytes) {
      throw StartupError(fmt::format(
          "the KV cache is limited to {} bytes, but a block of {} tokens takes {}{}: raise the "
          "limit",
          options_.kv_bytes, info_.block_size, block_bytes,
          windows == 0 ? "" : fmt::format(", and the windows of a sequence {}", windows)));
    }
    const std::int64_t most =
        std::min(std::int64_t{options_.max_running_sequences} * longest_, kMostBlocks);
    if (block_bytes == 0) return most;
    return static_cast<std::int64_t>(
        std::min<std::size_t>(most, (options_.kv_bytes - windows) / block_bytes));
  }

  const EngineOptions& options_;
  const RunnerInfo& info_;
  const std::int64_t longest_;  // blocks of the longest sequence
  const bool has_full_;
};

}  // namespace

CachePlan plan_cache(const EngineOptions& options, const RunnerInfo& info) {
  if (info.state_bytes > 0) {
    throw StartupError(
        "the model has layers with a recurrent state, which this server cannot keep yet: choose a "
        "model with attention layers alone");
  }
  return Planner(options, info).plan();
}

}  // namespace mlxd
