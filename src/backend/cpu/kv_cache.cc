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
    const std::size_t halves =
        std::size_t{2} * block_size * shape.kv_heads * static_cast<std::size_t>(shape.head_dim);
    layers_.push_back({shape, halves, nullptr});
    block_bytes_ += halves * sizeof(std::uint16_t);
  }
}

void KvCache::resize(int blocks) {
  memory_.reset();
  blocks_ = 0;
  memory_ = allocate_huge(block_bytes_ * static_cast<std::size_t>(blocks) + 64);
  blocks_ = blocks;
  auto* data = reinterpret_cast<std::uint16_t*>(memory_.get());
  for (Layer& layer : layers_) {
    layer.data = data;
    data += layer.block_halves * blocks;
  }
}

void KvCache::copy_block(int from, int to) {
  for (const Layer& layer : layers_) {
    std::memcpy(layer.data + to * layer.block_halves, layer.data + from * layer.block_halves,
                layer.block_halves * sizeof(std::uint16_t));
  }
}

}  // namespace mlxd::cpu
