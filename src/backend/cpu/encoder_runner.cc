#include "backend/cpu/encoder_runner.h"

#include <algorithm>

#include "backend/cpu/encoder_pass.h"
#include "backend/cpu/packed_encoder.h"
#include "backend/cpu/packed_matrix.h"
#include "engine/batch_check.h"

namespace mlxd::cpu {
namespace {

class EncoderRunner final : public ModelRunner {
 public:
  EncoderRunner(const ModelPlan& plan, const Kernels& kernels, const CpuOptions& options,
                const LoadProgress& progress)
      : pool_(options.threads > 0 ? options.threads : default_worker_count()),
        model_(pack_encoder(plan, kernels, pool_, progress)),
        pass_(model_, kernels, find_vector_ops(kernels.name), pool_) {
    info_.backend = "cpu";
    info_.instruction_set = kernels.name;
    info_.vocab_size = model_.words->rows();
    info_.context_length = plan.config.context_length;
    info_.block_size = options.block_size;
    info_.weight_bytes = model_.weight_bytes;
    info_.pooled_size = model_.pooled_size();
    info_.causal = false;
  }

  const RunnerInfo& info() const override { return info_; }
  void resize_cache(const CacheSize& size) override { size_ = size; }
  // This thread is a worker: the step runs when it is waited for.
  void launch(const Batch& batch) override {
    check_batch(batch, info_, size_);
    batch_ = batch;
  }
  void wait(StepOutput& output) override { pass_.run(batch_, output); }
  std::size_t buffer_bytes() const override { return pass_.buffer_bytes(); }

 private:
  WorkerPool pool_;
  PackedEncoder model_;
  EncoderPass pass_;
  RunnerInfo info_;
  CacheSize size_;
  Batch batch_;  // that was launched
};

}  // namespace

RunnerMemory foresee_encoder_memory(const ModelPlan& plan, const CpuOptions& options,
                                    const StepLimits& limits) {
  check_encoder(plan);
  RunnerMemory memory;
  for (const Tensor* matrix : matrices_of(plan)) {
    memory.weight_bytes += packed_bytes(choose_layout(*matrix), static_cast<int>(matrix->rows));
  }
  memory.block_size = options.block_size;
  const int threads = options.threads > 0 ? options.threads : default_worker_count();
  // A text is computed whole, however long it is.
  const int rows = std::max(limits.rows, plan.config.context_length);
  memory.step_bytes = EncoderPass::most_bytes(plan, rows, limits.wanted_rows, threads);
  return memory;
}

std::unique_ptr<ModelRunner> make_encoder_runner(const ModelPlan& plan, const Kernels& kernels,
                                                 const CpuOptions& options,
                                                 const LoadProgress& progress) {
  return std::make_unique<EncoderRunner>(plan, kernels, options, progress);
}

}  // namespace mlxd::cpu
