#include "backend/cuda/kv_cache.h"

#include "backend/cuda/kv_groups.h"
#include "model/kv_layout.h"

namespace mlxd::cuda_backend {

PagedKv::PagedKv(const ModelPlan& plan) : groups_(kv_groups(plan)) {
  const KvLayout layout = kv_layout(plan, kMaxKvGroups);
  layers_.resize(layout.group_of.size());
  for (const Block& block : plan.blocks) {
    const auto* attention = std::get_if<AttentionBlock>(&block);
    if (!attention) continue;
    Layer& layer = layers_[static_cast<std::size_t>(attention->layer)];
    layer.group = layout.group_of[static_cast<std::size_t>(attention->layer)];
    layer.block_bytes = kv_block_bytes(*attention) / 2;
  }
}

void PagedKv::resize(std::span<const int> blocks) {
  for (Layer& layer : layers_) {
    layer.keys.free();
    layer.values.free();
  }
  for (Layer& layer : layers_) {
    const auto count = static_cast<std::size_t>(blocks[static_cast<std::size_t>(layer.group)]);
    layer.keys.reserve(count * layer.block_bytes);
    layer.values.reserve(count * layer.block_bytes);
    layer.cache = {layer.keys.as(), layer.values.as()};
  }
}

void PagedKv::copy_blocks(std::span<const BlockCopy> copies, cudaStream_t stream) {
  for (const BlockCopy& copy : copies) {
    for (const Layer& layer : layers_) {
      if (layer.group != copy.group) continue;
      for (const Buffer* buffer : {&layer.keys, &layer.values}) {
        const auto at = [&](int block) {
          return buffer->as(static_cast<std::size_t>(block) * layer.block_bytes);
        };
        check(cudaMemcpyAsync(at(copy.to), at(copy.from), layer.block_bytes,
                              cudaMemcpyDeviceToDevice, stream),
              "copying a block");
      }
    }
  }
}

}  // namespace mlxd::cuda_backend
