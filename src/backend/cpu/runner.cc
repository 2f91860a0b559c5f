#include <algorithm>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/encoder_runner.h"
#include "backend/cpu/forward.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/kv_cache.h"
#include "backend/cpu/packed_matrix.h"
#include "backend/cpu/packed_model.h"
#include "backend/cpu/state_cache.h"
#include "backend/cpu/step_memory.h"
#include "backend/cpu/vector_ops.h"
#include "backend/cpu/worker_pool.h"
#include "base/error.h"
#include "base/overloaded.h"
#include "engine/batch_check.h"
#include "model/kv_layout.h"
#include "model/state_layout.h"

namespace mlxd::cpu {
namespace {

// What a KV block holds: kv_cache.h's layout, and what the layers and the kernels compute. The
// number is to be counted up when either gives other bits for the same tokens: blocks on disk are
// then no longer found.
const char* kv_format_name(KvFormat format) { return format == KvFormat::f16 ? "f16-2" : "int8-2"; }

// The shape of each KV layer, which attention blocks name by `layer`.
std::vector<KvShape> kv_shapes(const ModelPlan& plan, const KvLayout& layout) {
  std::vector<KvShape> shapes(layout.group_of.size());
  const Overloaded add_shape = {
      [&](const AttentionBlock& block) {
        if (block.kv_heads <= 0 || block.head_dim <= 0) {
          throw LoadError(block.query.weight.name + ": its heads are out of range");
        }
        const KvShape shape = {block.kv_heads, block.head_dim, layout.group_of[block.layer]};
        if (block.shares_cache && shape != shapes[block.layer]) {
          throw LoadError(block.query.weight.name +
                          ": its heads are not those whose cache it reads");
        }
        shapes[block.layer] = shape;
      },
      [&](const LatentAttentionBlock& block) {
        shapes[block.layer] = {.kv_heads = 1,
                               .head_dim = block.key_dim(),
                               .group = layout.group_of[block.layer],
                               .values_in_keys = true};
      },
      [](const FeedForwardBlock&) {},
      [](const ExpertsBlock&) {},
      [](const DeltaNetBlock&) {},
      [](const ShortConvBlock&) {},
      [](const Mamba2Block&) {},
      [](const LayerInputBlock&) {},
  };
  for (const Block& block : plan.blocks) std::visit(add_shape, block);
  return shapes;
}

std::vector<KvGroup> kv_groups_of(const KvCache& cache, const KvLayout& layout) {
  std::vector<KvGroup> groups;
  for (int group = 0; group < cache.groups(); ++group) {
    groups.push_back({cache.block_bytes(group), layout.windows[group]});
  }
  return groups;
}

class CpuRunner final : public ModelRunner {
 public:
  CpuRunner(const ModelPlan& plan, const Kernels& kernels, const CpuOptions& options,
            const LoadProgress& progress)
      : layout_(kv_layout(plan, kMaxKvGroups)),
        cache_(kv_shapes(plan, layout_), options.block_size, options.kv_format),
        states_(state_shapes(plan)),
        pool_(options.threads > 0 ? options.threads : default_worker_count()),
        model_(pack_model(plan, kernels, pool_, progress)),
        forward_(model_, kernels, find_vector_ops(kernels.name), pool_, cache_, states_) {
    info_.backend = "cpu";
    info_.instruction_set = kernels.name;
    info_.vocab_size = model_.head.matrix->rows();
    info_.context_length = plan.config.context_length;
    info_.block_size = options.block_size;
    info_.kv = kv_groups_of(cache_, layout_);
    info_.state_bytes = states_.slot_bytes();
    info_.weight_bytes = model_.weight_bytes;
    if (plan.pooled) info_.pooled_size = model_.hidden_size;
    info_.has_roles = kernels.prompts != nullptr;
    info_.kv_format = kv_format_name(options.kv_format);
  }

  const RunnerInfo& info() const override { return info_; }
  void resize_cache(const CacheSize& size) override {
    size_ = size;
    cache_.resize(size.blocks);
    states_.resize(size.states);
  }

  // This thread is a worker: the step runs when it is waited for.
  void launch(const Batch& batch) override {
    check_batch(batch, info_, size_);
    batch_ = batch;
  }
  void wait(StepOutput& output) override { forward_.run(batch_, output); }
  void export_block(int group, int block, std::span<std::byte> contents) const override {
    std::ranges::copy(cache_.block(group, block), contents.begin());
  }
  void import_block(int group, int block, std::span<const std::byte> contents) override {
    std::ranges::copy(contents, cache_.block(group, block).begin());
  }
  void export_state(int slot, std::size_t offset, std::span<std::byte> contents) const override {
    std::ranges::copy(states_.bytes(slot).subspan(offset, contents.size()), contents.begin());
  }
  void import_state(int slot, std::size_t offset, std::span<const std::byte> contents) override {
    std::ranges::copy(contents, states_.bytes(slot).subspan(offset, contents.size()).begin());
  }
  std::size_t buffer_bytes() const override { return forward_.buffer_bytes(); }

 private:
  const KvLayout layout_;
  KvCache cache_;
  StateCache states_;
  WorkerPool pool_;
  PackedModel model_;
  ForwardPass forward_;
  RunnerInfo info_;
  CacheSize size_;
  Batch batch_;  // that was launched
};

}  // namespace

RunnerMemory foresee_cpu_memory(const ModelPlan& plan, const CpuOptions& options,
                                const StepLimits& limits) {
  if (plan.encoder) return foresee_encoder_memory(plan, options, limits);
  RunnerMemory memory;
  for (const Tensor* matrix : matrices_of(plan)) {
    memory.weight_bytes += packed_bytes(choose_layout(*matrix), static_cast<int>(matrix->rows));
  }
  const KvLayout layout = kv_layout(plan, kMaxKvGroups);
  const KvCache cache(kv_shapes(plan, layout), options.block_size, options.kv_format);
  memory.kv = kv_groups_of(cache, layout);
  memory.state_bytes = StateCache(state_shapes(plan)).slot_bytes();
  memory.block_size = cache.block_size();
  const int threads = options.threads > 0 ? options.threads : default_worker_count();
  const Kernels* kernels = find_kernels(options.isa);
  memory.step_bytes = step_memory(plan, limits, threads, kernels && kernels->prompts);
  return memory;
}

std::unique_ptr<ModelRunner> make_cpu_runner(const ModelPlan& plan, const CpuOptions& options,
                                             const LoadProgress& progress) {
  const Kernels* kernels = find_kernels(options.isa);
  if (!kernels) {
    throw StartupError("the cpu backend has no instruction set \"" + options.isa +
                       "\" that this processor runs; leave it out for the best there is");
  }
  if (plan.encoder) return make_encoder_runner(plan, *kernels, options, progress);
  return std::make_unique<CpuRunner>(plan, *kernels, options, progress);
}

}  // namespace mlxd::cpu
