#include <set>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/kv_groups.h"
#include "backend/cuda/matrix_plan.h"
#include "backend/cuda/step_memory.h"

namespace mlxd::cuda_backend {
namespace {

// As Weights will hold them: a tensor that is used whole is there once.
class WeightCount {
 public:
  explicit WeightCount(Element element) : element_(element) {}

  void add(const MatrixPlan& plan) {
    const Linear& first = *plan.parts[0];
    const bool whole = plan.parts.size() == 1 && first.rows.stride == 0 && first.order.empty();
    if (!whole) {
      bytes_ += plan.shape.bytes();
    } else {
      add(first.weight);
    }
  }
  void add(const Tensor& tensor) {
    if (seen_.insert(tensor.data.data()).second) bytes_ += packed_shape(tensor, element_).bytes();
  }
  std::size_t bytes() const { return bytes_; }

 private:
  Element element_;
  std::set<const std::byte*> seen_;
  std::size_t bytes_ = 0;
};

}  // namespace

RunnerMemory foresee_cuda_memory(const ModelPlan& plan, const StepLimits& limits) {
  check_plan(plan);
  const Element element = element_of(plan);
  WeightCount weights(element);
  weights.add(plan.embed.table);
  for (const Block& block : plan.blocks) {
    if (const auto* attention = std::get_if<AttentionBlock>(&block)) {
      for (const MatrixPlan& heads : plan_heads(*attention, element)) weights.add(heads);
      weights.add(plan_matrix(attention->output, element));
    } else if (const auto* hidden = std::get_if<FeedForwardBlock>(&block)) {
      weights.add(plan_hidden(*hidden, element));
      weights.add(plan_matrix(hidden->down, element));
    }
  }
  weights.add(plan_matrix(plan.head.weight, element));
  RunnerMemory memory;
  memory.weight_bytes = weights.bytes();
  memory.kv = kv_groups(plan);
  memory.block_size = kBlockTokens;
  memory.step_bytes = step_bytes(plan, limits);
  return memory;
}

}  // namespace mlxd::cuda_backend
