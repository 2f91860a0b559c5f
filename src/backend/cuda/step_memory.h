// The buffers of a step, sized without a card.
#pragma once

#include <algorithm>
#include <cstddef>

#include "backend/cuda/packed.h"
#include "engine/model_runner.h"
#include "model/model_plan.h"

namespace mlxd::cuda_backend {

// Columns of 16-bit activations that fill whole units.
constexpr int padded(int columns) {
  return (columns + kUnitColumns - 1) / kUnitColumns * kUnitColumns;
}

// Whether q and k are normed over all heads as one vector.
bool spans_heads(const AttentionBlock& block);

// Parts of attention are computed beside one another as long as what they leave fits here.
inline constexpr std::size_t kScratchBytes = std::size_t{64} << 20;

// Bytes of a row of each buffer, the widest of any layer.
struct RowBytes {
  std::size_t x = 0, heads = 0, y = 0, h16 = 0, q16 = 0, wide16 = 0, logits = 0;
  std::size_t scores = 0, mixed = 0, expert_out = 0, pairs = 0;
};
RowBytes row_bytes_of(const ModelPlan& plan);

// Rows that buffers are made for when so many are asked for.
constexpr int rounded_rows(int rows) { return (rows + 63) / 64 * 64; }

// Of the largest step, an upper bound.
std::size_t step_bytes(const ModelPlan& plan, const StepLimits& limits);

}  // namespace mlxd::cuda_backend
