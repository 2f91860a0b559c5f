#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "backend/cuda/device.h"
#include "backend/cuda/kernels.h"
#include "engine/batch.h"
#include "engine/model_runner.h"
#include "model/model_plan.h"

namespace mlxd::cuda_backend {

// Keys and values of all layers, in blocks of 16 tokens. Inference thread.
class PagedKv {
 public:
  // Throws LoadError as kv_layout does.
  explicit PagedKv(const ModelPlan& plan);

  const std::vector<KvGroup>& groups() const { return groups_; }
  int group_of(int layer) const { return layers_[static_cast<std::size_t>(layer)].group; }
  const KvCache& layer(int layer) const { return layers_[static_cast<std::size_t>(layer)].cache; }

  void resize(std::span<const int> blocks);  // by group; zeros
  void copy_blocks(std::span<const BlockCopy> copies, cudaStream_t stream);

 private:
  struct Layer {
    int group = 0;
    std::size_t block_bytes = 0;  // of keys; of values as many
    Buffer keys, values;
    KvCache cache;
  };
  std::vector<Layer> layers_;
  std::vector<KvGroup> groups_;
};

}  // namespace mlxd::cuda_backend
