#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/forward.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/kv_cache.h"
#include "backend/cpu/packed_matrix.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/vector_ops.h"
#include "backend/cpu/worker_pool.h"
#include "base/error.h"
#include "engine/batch_check.h"

namespace mlxd::cpu {
namespace {

// What a KV block holds: kv_cache.h's layout, and what forward.cc and the kernels compute. The
// number is to be counted up when either gives other bits for the same tokens: blocks on disk are
// then no longer found.
const char* kv_format_name(KvFormat format) { return format == KvFormat::f16 ? "f16-1" : "int8-1"; }

// The shape of each KV layer, which attention blocks name by `layer`.
std::vector<KvShape> kv_shapes(const ModelPlan& plan) {
  std::vector<KvShape> shapes(std::max(0, plan.kv_layers));
  for (const auto& block : plan.blocks) {
    const auto* attention = std::get_if<AttentionBlock>(&block);
    if (!attention) continue;
    if (attention->layer < 0 || attention->layer >= plan.kv_layers || attention->kv_heads <= 0 ||
        attention->head_dim <= 0) {
      throw LoadError(attention->query.weight.name + ": its KV layer or heads are out of range");
    }
    shapes[attention->layer] = {attention->kv_heads, attention->head_dim};
  }
  if (shapes.empty() || std::any_of(shapes.begin(), shapes.end(),
                                    [](const KvShape& shape) { return shape.kv_heads == 0; })) {
    throw LoadError("the cpu backend runs models whose every KV layer has an attention block");
  }
  return shapes;
}

class CpuRunner final : public ModelRunner {
 public:
  CpuRunner(const ModelPlan& plan, const Kernels& kernels, const CpuOptions& options,
            void (*progress)(double))
      : cache_(kv_shapes(plan), options.block_size, options.kv_format),
        pool_(options.threads > 0 ? options.threads : default_worker_count()),
        model_(pack_model(plan, kernels, pool_, progress)),
        forward_(model_, kernels, find_vector_ops(kernels.name), pool_, cache_) {
    info_.backend = "cpu";
    info_.instruction_set = kernels.name;
    info_.vocab_size = model_.head.matrix->rows();
    info_.context_length = plan.config.context_length;
    info_.block_size = options.block_size;
    info_.kv = {{.block_bytes = cache_.block_bytes()}};
    info_.weight_bytes = model_.weight_bytes;
    info_.kv_format = kv_format_name(options.kv_format);
  }

  const RunnerInfo& info() const override { return info_; }
  void resize_cache(const CacheSize& size) override {
    size_ = size;
    cache_.resize(size.blocks[0]);
  }

  // The workers of this machine are the device: nothing could run beside them.
  void launch(const Batch& batch) override {
    check_batch(batch, info_, size_);
    forward_.run(batch, output_);
  }
  void wait(StepOutput& output) override { std::swap(output, output_); }
  void export_block(int, int block, std::span<std::byte> contents) const override {
    std::memcpy(contents.data(), cache_.block(block).data(), contents.size());
  }
  void import_block(int, int block, std::span<const std::byte> contents) override {
    std::memcpy(cache_.block(block).data(), contents.data(), contents.size());
  }
  std::size_t buffer_bytes() const override {
    return forward_.buffer_bytes() + output_.logits.capacity() * sizeof(float);
  }

 private:
  KvCache cache_;
  WorkerPool pool_;
  PackedModel model_;
  ForwardPass forward_;
  RunnerInfo info_;
  CacheSize size_;
  StepOutput output_;  // of the step that was launched
};

}  // namespace

RunnerMemory foresee_cpu_memory(const ModelPlan& plan, const CpuOptions& options) {
  RunnerMemory memory;
  for (const Tensor* matrix : matrices_of(plan)) {
    memory.weight_bytes += packed_bytes(choose_layout(*matrix), static_cast<int>(matrix->rows));
  }
  const KvCache cache(kv_shapes(plan), options.block_size, options.kv_format);
  memory.kv = {{.block_bytes = cache.block_bytes()}};
  memory.block_size = cache.block_size();
  return memory;
}

std::unique_ptr<ModelRunner> make_cpu_runner(const ModelPlan& plan, const CpuOptions& options,
                                             void (*progress)(double)) {
  const Kernels* kernels = find_kernels(options.isa);
  if (!kernels) {
    throw StartupError("the cpu backend has no instruction set \"" + options.isa +
                       "\" that this processor runs; leave it out for the best there is");
  }
  return std::make_unique<CpuRunner>(plan, *kernels, options, progress);
}

}  // namespace mlxd::cpu
