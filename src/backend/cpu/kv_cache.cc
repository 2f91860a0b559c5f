#include "backend/cpu/kv_cache.h"

#include <cstring>
#include <string>
#include <utility>

#include "backend/cpu/huge_pages.h"
#include "base/error.h"

namespace mlxd::cpu {

KvCache::KvCache(std::vector<KvShape> layers, int block_size, KvFormat format)
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
    const auto groups = static_cast<std::size_t>(kv_groups(shape.head_dim));
    const std::size_t tile_bytes = format == KvFormat::int8
                                       ? numbers + kKeyTile * groups * sizeof(float)
                                       : numbers * sizeof(std::uint16_t);
    layers_.push_back({block_bytes_, tile_bytes});
    block_bytes_ += 2 * tile_bytes * static_cast<std::size_t>(block_size / kKeyTile) *
                    static_cast<std::size_t>(shape.kv_heads);
  }
}

void KvCache::resize(int blocks) {
  memory_.reset();
  blocks_ = 0;
  memory_ = allocate_huge(block_bytes() * static_cast<std::size_t>(blocks) + 64);
  blocks_ = blocks;
}

void KvCache::copy_block(int from, int to) {
  std::memcpy(memory_.get() + to * block_bytes_, memory_.get() + from * block_bytes_, block_bytes_);
}

}  // namespace mlxd::cpu
