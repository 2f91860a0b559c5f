// The sizes of a KV cache on the card, known without one.
#pragma once

#include <vector>

#include "backend/cuda/packed.h"
#include "engine/model_runner.h"
#include "model/kv_layout.h"
#include "model/model_plan.h"

namespace mlxd::cuda_backend {

// Keys and values of a block's tokens in one layer, 16 bits each.
inline std::size_t kv_block_bytes(const AttentionBlock& block) {
  return std::size_t{2} * 2 * kBlockTokens * static_cast<std::size_t>(block.kv_heads) *
         static_cast<std::size_t>(block.head_dim);
}

// Throws LoadError as kv_layout does.
inline std::vector<KvGroup> kv_groups(const ModelPlan& plan) {
  const KvLayout layout = kv_layout(plan, kMaxKvGroups);
  std::vector<KvGroup> groups;
  for (const int window : layout.windows) groups.push_back({.block_bytes = 0, .window = window});
  for (const Block& block : plan.blocks) {
    const auto* attention = std::get_if<AttentionBlock>(&block);
    if (!attention) continue;
    const int group = layout.group_of[static_cast<std::size_t>(attention->layer)];
    groups[static_cast<std::size_t>(group)].block_bytes += kv_block_bytes(*attention);
  }
  return groups;
}

}  // namespace mlxd::cuda_backend
