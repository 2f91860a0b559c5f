#include "backend/cpu/kv_cache.h"

#include <algorithm>
#include <string>
#include <utility>

#include "backend/cpu/huge_pages.h"
#include "base/error.h"

namespace mlxd::cpu {

KvCache::KvCache(const std::vector<KvShape>& layers, int block_size, KvFormat format)
    : block_size_(block_size), format_(format) {
  if (block_size < kKeyTile || block_size % kKeyTile != 0) {
    throw LoadError("the cpu backend needs a KV block size that is a multiple of " +
                    std::to_string(kKeyTile) + ", not " + std::to_string(block_size));
  }
  for (const KvShape& shape : layers) {
    if (shape.head_dim % kKeyTile != 0) {
      throw LoadError("the cpu backend needs a head dimension that is a multiple of " +
                      std::to_string(kKeyTile) + ", not " + std::to_string(shape.head_dim));
    }
    const std::size_t numbers = kKeyTile * static_cast<std::size_t>(shape.head_dim);
    const auto scales = static_cast<std::size_t>(kv_groups(shape.head_dim));
    const std::size_t tile_bytes = format == KvFormat::int8
                                       ? numbers + kKeyTile * scales * sizeof(float)
                                       : numbers * sizeof(std::uint16_t);
    if (shape.group >= groups()) groups_.resize(shape.group + 1);
    std::size_t& block_bytes = groups_[shape.group].block_bytes;
    const std::size_t to_values = shape.values_in_keys ? 0 : tile_bytes;
    layers_.push_back({.group = shape.group,
                       .offset = block_bytes,
                       .stride = tile_bytes + to_values,
                       .to_values = to_values});
    block_bytes += layers_.back().stride * static_cast<std::size_t>(block_size / kKeyTile) *
                   static_cast<std::size_t>(shape.kv_heads);
  }
  for (Layer& layer : layers_) layer.block_bytes = groups_[layer.group].block_bytes;
}

void KvCache::resize(std::span<const int> blocks) {
  for (Group& group : groups_) group.memory.reset();
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    groups_[i].memory =
        allocate_huge(groups_[i].block_bytes * static_cast<std::size_t>(blocks[i]) + 64);
  }
  for (Layer& layer : layers_) layer.first = groups_[layer.group].memory.get() + layer.offset;
}

void KvCache::copy_block(int group, int from, int to) {
  std::ranges::copy(block(group, from), block(group, to).begin());
}

}  // namespace mlxd::cpu
