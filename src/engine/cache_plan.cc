#include "engine/cache_plan.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include <fmt/format.h>

#include "base/error.h"

namespace mlxd {
namespace {

constexpr std::int64_t kMostTokens = 1 << 20;  // in blocks of tokens alone
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
    plan_states(plan);
    options_.kv_blocks > 0 ? windows_by_blocks(plan) : windows_by_bytes(plan);
    const std::int64_t full = full_blocks(plan.size.bytes(info_));
    if (!has_full_) {
      plan.token_blocks = static_cast<int>(
          std::min(most_full_blocks(), std::max(blocks_for(kMostTokens), longest_)));
      plan.sequence_blocks = static_cast<int>(longest_);
      return plan;
    }
    for (std::size_t group = 0; group < info_.kv.size(); ++group) {
      if (info_.kv[group].window == 0) plan.size.blocks[group] = static_cast<int>(full);
    }
    plan.sequence_blocks = static_cast<int>(full);
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
  int bounded(std::int64_t blocks, const CachePlan& plan, std::size_t group) const {
    const std::int64_t most =
        std::max<std::int64_t>(longest_ * plan.max_sequences, plan.reserved(group));
    return static_cast<int>(std::min({blocks, most, kMostBlocks}));
  }

  // That the running sequences could ever fill.
  std::int64_t most_full_blocks() const {
    return std::min(std::int64_t{options_.max_running_sequences} * longest_, kMostBlocks);
  }
  std::size_t full_block_bytes() const {
    std::size_t bytes = 0;
    for (const KvGroup& group : info_.kv) bytes += group.window == 0 ? group.block_bytes : 0;
    return bytes;
  }

  void plan_states(CachePlan& plan) const {
    const std::size_t bytes = info_.state_bytes;
    if (bytes == 0) return;
    const std::size_t block = full_block_bytes();
    plan.snapshot_blocks = snapshot_blocks(block > 0 ? block : info_.block_bytes());
    const std::size_t each = 3 + info_.ahead;  // slots of a running sequence
    const auto wanted = [&] { return each * static_cast<std::size_t>(plan.max_sequences); };
    std::size_t slots = 0;
    if (options_.state_slots > 0) {
      slots = options_.state_slots;
      plan.max_sequences = static_cast<int>(std::min<std::size_t>(plan.max_sequences, slots - 1));
    } else if (options_.kv_blocks > 0) {
      slots = wanted() + static_cast<std::size_t>(options_.kv_blocks / plan.snapshot_blocks);
    } else {
      slots = (info_.kv.empty() ? options_.kv_bytes : options_.kv_bytes / 2) / bytes;
      plan.max_sequences =
          static_cast<int>(std::clamp<std::size_t>(slots / each, 1, plan.max_sequences));
      slots = std::min(slots, wanted() + snapshots(wanted() * bytes, block));
    }
    if (plan.max_sequences < 1 || slots < 2) {
      throw StartupError(
          fmt::format("the KV cache is limited to {} bytes, but the recurrent state of a sequence "
                      "takes {}, and "
                      "two are needed in half of it: raise the limit",
                      options_.kv_bytes, bytes));
    }
    plan.size.states = static_cast<int>(std::min<std::size_t>(slots, kMostBlocks));
  }
  // Without KV to compare with: one a step of a prompt.
  int snapshot_blocks(std::size_t block_bytes) const {
    if (block_bytes == 0) return static_cast<int>(blocks_for(options_.max_step_tokens));
    const std::size_t most = std::numeric_limits<int>::max() / info_.block_size;
    return static_cast<int>(std::min((info_.state_bytes + block_bytes - 1) / block_bytes, most));
  }
  // With one for each block of the full group that the memory beyond so many bytes holds.
  std::size_t snapshots(std::size_t beyond, std::size_t block_bytes) const {
    if (block_bytes == 0 || beyond >= options_.kv_bytes) return 0;
    return std::min((options_.kv_bytes - beyond) / (block_bytes + info_.state_bytes),
                    static_cast<std::size_t>(most_full_blocks()));
  }

  void windows_by_bytes(CachePlan& plan) const {
    const std::size_t states = plan.size.bytes(info_);
    const std::size_t kv = options_.kv_bytes - std::min(states, options_.kv_bytes);
    const std::size_t limit = has_full_ ? kv / 2 : kv;
    std::size_t reserve_bytes = 0;  // of one sequence among others
    for (std::size_t group = 0; group < info_.kv.size(); ++group) {
      if (info_.kv[group].window == 0) continue;
      reserve_bytes +=
          info_.kv[group].block_bytes * static_cast<std::size_t>(plan.reserve[group] + 1);
    }
    if (reserve_bytes > 0) {
      plan.max_sequences =
          static_cast<int>(std::clamp<std::size_t>(limit / reserve_bytes, 1, plan.max_sequences));
    }
    std::size_t reserved = 0;
    double extra_bytes = 0;
    for (std::size_t group = 0; group < info_.kv.size(); ++group) {
      if (info_.kv[group].window == 0) continue;
      reserved += info_.kv[group].block_bytes * static_cast<std::size_t>(plan.reserved(group));
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
          bounded(plan.reserved(group) + static_cast<std::int64_t>(more), plan, group);
    }
  }

  void windows_by_blocks(CachePlan& plan) const {
    for (std::size_t group = 0; group < info_.kv.size(); ++group) {
      if (info_.kv[group].window == 0) continue;
      const int reserve = plan.reserve[group];
      const std::int64_t wanted = plan.reserved(group) + extra(reserve, plan.max_sequences);
      const int blocks =
          std::max(std::min(bounded(wanted, plan, group), options_.kv_blocks), reserve);
      plan.size.blocks[group] = blocks;
      plan.max_sequences = std::clamp(blocks / (reserve + 1), 1, plan.max_sequences);
    }
  }

  // `beside`: bytes of windows and states.
  std::int64_t full_blocks(std::size_t beside) const {
    if (options_.kv_blocks > 0) return options_.kv_blocks;
    const std::size_t block_bytes = full_block_bytes();
    if (beside + block_bytes > options_.kv_bytes) {
      throw StartupError(fmt::format(
          "the KV cache is limited to {} bytes, but a block of {} tokens takes {}{}: raise the "
          "limit",
          options_.kv_bytes, info_.block_size, block_bytes,
          beside == 0 ? "" : fmt::format(", and the windows and states beside it {}", beside)));
    }
    const std::int64_t most = most_full_blocks();
    if (block_bytes == 0) return most;
    return static_cast<std::int64_t>(
        std::min<std::size_t>(most, (options_.kv_bytes - beside) / block_bytes));
  }

  const EngineOptions& options_;
  const RunnerInfo& info_;
  const std::int64_t longest_;  // blocks of the longest sequence
  const bool has_full_;
};

}  // namespace

CachePlan plan_cache(const EngineOptions& options, const RunnerInfo& info) {
  return Planner(options, info).plan();
}

}  // namespace mlxd
