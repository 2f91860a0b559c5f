#include "backend/cuda/step_memory.h"

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
  for (const Block& block : plan.blocks) {
    if (const auto* attention = std::get_if<AttentionBlock>(&block)) {
      const int all = (attention->heads + 2 * attention->kv_heads) * attention->head_dim;
      const int out = attention->heads * attention->head_dim;
      bytes.heads = std::max(bytes.heads, static_cast<std::size_t>(all) * sizeof(float));
      bytes.q16 = std::max(bytes.q16, of_elements(out));
      bytes.wide16 = std::max(bytes.wide16, of_elements(out));
    } else if (const auto* hidden = std::get_if<FeedForwardBlock>(&block)) {
      bytes.wide16 = std::max(bytes.wide16, of_elements(static_cast<int>(hidden->up.out())));
    }
  }
  return bytes;
}

std::size_t step_bytes(const ModelPlan& plan, const StepLimits& limits) {
  const RowBytes row = row_bytes_of(plan);
  const auto rows = static_cast<std::size_t>(rounded_rows(limits.rows));
  const auto wanted = static_cast<std::size_t>(rounded_rows(limits.wanted_rows));
  const std::size_t values = row.x + row.heads + row.y + row.h16 + row.q16 + row.wide16;
  // The block tables of as many sequences as there are rows, in the longest context.
  const auto context = static_cast<std::size_t>(plan.config.context_length);
  const std::size_t tables = kMaxKvGroups * (context / kBlockTokens + 1) * sizeof(int);
  return rows * (values + tables) + wanted * (row.logits + row.h16) + kScratchBytes;
}

}  // namespace mlxd::cuda_backend
