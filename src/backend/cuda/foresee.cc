#include <set>
#include <span>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/kv_groups.h"
#include "backend/cuda/matrix_plan.h"
#include "backend/cuda/step_memory.h"
#include "base/overloaded.h"
#include "model/state_layout.h"

namespace mlxd::cuda_backend {
namespace {

// As Weights will hold them: a tensor that is used whole is there once.
class WeightCount {
 public:
  explicit WeightCount(Element element) : element_(element) {}

  void add(const MatrixPlan& plan) {
    if (plan.whole()) {
      add(plan.parts[0]->weight);
    } else {
      bytes_ += plan.shape.bytes();
    }
  }
  void add(const Tensor& tensor) {
    if (seen_.insert(tensor.data.data()).second) bytes_ += packed_shape(tensor, element_).bytes();
  }
  void add(std::span<const MatrixPlan> plans) {
    for (const MatrixPlan& plan : plans) add(plan);
  }
  void add_plain(std::span<const Linear* const> linears) { bytes_ += plain_bytes(linears); }
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
  const Overloaded add = {
      [&](const AttentionBlock& block) {
        weights.add(plan_heads(block, element));
        weights.add(plan_matrix(block.output, element));
      },
      [&](const FeedForwardBlock& block) {
        weights.add(plan_hidden(block.gate, block.up, element));
        weights.add(plan_matrix(block.down, element));
      },
      [&](const ExpertsBlock& block) {
        weights.add_plain(scores_of(block));
        weights.add(plan_hidden(block.gate, block.up, element, block.experts));
        weights.add(plan_experts(block.down, element, block.experts));
        if (!block.shared) return;
        weights.add(plan_hidden(block.shared->gate, block.shared->up, element));
        weights.add(plan_matrix(block.shared->down, element));
      },
      [&](const DeltaNetBlock& block) {
        weights.add_plain(factors_of(block));
        weights.add(plan_input(block, element));
        weights.add(plan_matrix(block.output, element));
      },
      [](const auto&) {},  // check_plan refused it
  };
  for (const Block& block : plan.blocks) std::visit(add, block);
  weights.add(plan_matrix(plan.head.weight, element));
  RunnerMemory memory;
  memory.weight_bytes = weights.bytes();
  memory.kv = kv_groups(plan);
  for (const StateShape& shape : state_shapes(plan)) {
    memory.state_bytes += shape.floats() * sizeof(float);
  }
  memory.block_size = kBlockTokens;
  memory.step_bytes = step_bytes(plan, limits);
  return memory;
}

}  // namespace mlxd::cuda_backend
