#include "backend/cuda/step_memory.h"

#include "backend/cuda/block_limits.h"
#include "base/overloaded.h"

namespace mlxd::cuda_backend {

bool spans_heads(const AttentionBlock& block) {
  const auto spans = [&](const std::optional<RmsNorm>& norm) {
    return norm && norm->weight.size() > static_cast<std::size_t>(block.head_dim);
  };
  return spans(block.query_norm) || spans(block.key_norm);
}

RowBytes row_bytes_of(const ModelPlan& plan) {
  const auto width = static_cast<int>(plan.embed.table.columns);
  const auto of_elements = [](int columns) {
    return static_cast<std::size_t>(padded(columns)) * 2;
  };
  RowBytes bytes;
  bytes.x = bytes.y = static_cast<std::size_t>(width) * sizeof(float);
  bytes.h16 = of_elements(width);
  bytes.logits = static_cast<std::size_t>(plan.head.weight.out()) * sizeof(float);
  const auto grow = [](std::size_t& size, std::size_t to) { size = std::max(size, to); };
  const auto floats = [](auto count) { return static_cast<std::size_t>(count) * sizeof(float); };
  const Overloaded include = {
      [&](const AttentionBlock& block) {
        const int own = block.heads * block.head_dim;
        const int all = (block.gated ? 2 : 1) * own + 2 * block.kv_heads * block.head_dim;
        grow(bytes.heads, floats(all));
        grow(bytes.q16, of_elements(own));
        grow(bytes.wide16, of_elements(own));
      },
      [&](const FeedForwardBlock& block) {
        grow(bytes.wide16, of_elements(static_cast<int>(block.up.out())));
      },
      [&](const ExpertsBlock& block) {
        const auto chosen = static_cast<std::size_t>(block.choice.chosen);
        grow(bytes.scores, floats(block.experts + 1));
        grow(bytes.pairs, chosen * kPairBytes);
        grow(bytes.wide16, chosen * of_elements(block.intermediate_size()));
        grow(bytes.expert_out, chosen * floats(width));
        if (!block.shared) return;
        grow(bytes.wide16, of_elements(static_cast<int>(block.shared->up.out())));
      },
      [&](const DeltaNetBlock& block) {
        const int values = block.value_heads * block.value_dim;
        grow(bytes.heads, floats(block.channels() + values));
        grow(bytes.mixed, floats(block.channels() + values));
        grow(bytes.scores, floats(2 * block.value_heads));
        grow(bytes.wide16, of_elements(values));
      },
      [](const auto&) {},  // check_plan refused it
  };
  for (const Block& block : plan.blocks) std::visit(include, block);
  return bytes;
}

std::size_t step_bytes(const ModelPlan& plan, const StepLimits& limits) {
  const RowBytes row = row_bytes_of(plan);
  const auto rows = static_cast<std::size_t>(rounded_rows(limits.rows));
  const auto wanted = static_cast<std::size_t>(rounded_rows(limits.wanted_rows));
  const std::size_t values = row.x + row.heads + row.y + row.h16 + row.q16 + row.wide16 +
                             row.scores + row.mixed + row.expert_out + row.pairs;
  // The block tables of as many sequences as there are rows, in the longest context.
  const auto context = static_cast<std::size_t>(plan.config.context_length);
  const std::size_t tables = kMaxKvGroups * (context / kBlockTokens + 1) * sizeof(int);
  return rows * (values + tables) + wanted * (row.logits + row.h16) + kScratchBytes + kPairsBytes;
}

}  // namespace mlxd::cuda_backend
