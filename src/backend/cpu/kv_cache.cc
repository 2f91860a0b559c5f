#include "backend/cpu/kv_cache.h"

#include <cstring>
#include <string>
#include <utility>

#include "backend/cpu/huge_pages.h"
#include "base/error.h"

namespace mlxd::cpu {

KvCache::KvCache(std::vector<KvShape> layers, int block_size) : block_size_(block_size) {
  if (block_size < kKeyTile || block_size % kKeyTile != 0) {
    throw LoadError("the cpu backend needs a KV block size that is a multiple of " +
                    std::to_string(kKeyTile) + ", not " + std::to_string(block_size));
  }
  for (const KvShape& shape : layers) {
    if (shape.head_dim % kKeyTile != 0) {
      throw LoadError("the cpu backend needs a head dimension that is a multiple of " +
                      std::to_string(kKeyTile) + ", not " + std::to_string(shape.head_dim));
    }
    layers_.push_back({shape, block_halves_});
    block_halves_ +=
        std::size_t{2} * block_size * shape.kv_heads * static_cast<std::size_t>(shape.head_dim);
  }
}

void KvCache::resize(int blocks) {
  memory_.reset();
  blocks_ = 0;
  memory_ = allocate_huge(block_bytes() * static_cast<std::size_t>(blocks) + 64);
  data_ = reinterpret_cast<std::uint16_t*>(memory_.get());
  blocks_ = blocks;
}

void KvCache::copy_block(int from, int to) {
  std::memcpy(data_ + to * block_halves_, data_ + from * block_halves_, block_bytes());
}

}  // namespace mlxd::cpu
