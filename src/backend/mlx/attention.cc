#include "backend/mlx/attention.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "backend/mlx/matrix.h"

namespace mlxd::mlx_backend {
namespace {

std::vector<StepLayout::Part> make_parts(const Batch& batch, int block_size, int kv_groups) {
  std::vector<StepLayout::Part> parts;
  parts.reserve(batch.sequences.size());
  for (const BatchSequence& sequence : batch.sequences) {
    StepLayout::Part part{sequence.first_row, sequence.query_length, sequence.context_length, {},
                          sequence.state,     sequence.saves};
    for (int group = 0; group < kv_groups; ++group) {
      part.maps.emplace_back(sequence.blocks[group], sequence.context_length, block_size);
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

// The slot of a KV group that each row of the step writes.
std::vector<int> slots_of(const std::vector<StepLayout::Part>& parts, int group) {
  std::vector<int> slots;
  for (const StepLayout::Part& part : parts) {
    for (int p = part.context_length - part.query_length; p < part.context_length; ++p) {
      slots.push_back(part.maps[group].slot(p));
    }
  }
  return slots;
}

// softmax(softcap * tanh(scale q.k / softcap)) v, which MLX's fused attention does not offer.
// q [1, heads, n, d]; k, v [1, kv_heads, m, d] -> [1, heads, n, d]
mx::array softcapped(const AttentionBlock& block, const mx::array& q, const PagedCache::View& kv,
                     const std::optional<mx::array>& mask) {
  const int n = q.shape(2), group = block.heads / block.kv_heads;
  const mx::array grouped =
      mx::reshape(mx::astype(q, mx::float32), {block.kv_heads, group, n, block.head_dim});
  const mx::array keys = mx::expand_dims(mx::squeeze(mx::astype(kv.keys, mx::float32), 0), 1);
  const mx::array values = mx::expand_dims(mx::squeeze(mx::astype(kv.values, mx::float32), 0), 1);
  mx::array scores =
      mx::matmul(grouped, mx::swapaxes(keys, -1, -2)) * mx::array(block.scale / block.softcap);
  scores = mx::tanh(scores) * mx::array(block.softcap);
  if (mask) {
    scores = mx::where(*mask, scores, mx::array(-std::numeric_limits<float>::infinity()));
  }
  const mx::array out = mx::matmul(mx::softmax(scores, -1, /*precise=*/true), values);
  return mx::astype(mx::reshape(out, {1, block.heads, n, block.head_dim}), q.dtype());
}

}  // namespace

StepLayout::StepLayout(const Batch& batch, int block_size, int kv_groups)
    : parts_(make_parts(batch, block_size, kv_groups)),
      row_positions_(batch.positions),
      tokens_(int_array(batch.tokens)),
      positions_(int_array(batch.positions)) {
  for (int group = 0; group < kv_groups; ++group) {
    slots_.push_back(int_array(slots_of(parts_, group)));
  }
}

const mx::array& StepLayout::temperatures(const PositionTemperature& temperature) {
  for (const auto& [known, factors] : temperatures_) {
    if (known == temperature) return factors;
  }
  std::vector<float> factors;
  for (const int position : row_positions_) factors.push_back(temperature.at(position));
  const mx::Shape shape = {static_cast<mx::ShapeElem>(factors.size()), 1, 1};
  return temperatures_.emplace_back(temperature, mx::array(factors.begin(), shape)).second;
}

int StepLayout::first_seen(const Part& part, int window) {
  const int first_position = part.context_length - part.query_length;
  return window > 0 ? std::max(0, first_position - window + 1) : 0;
}

const mx::array& StepLayout::mask(const Part& part, int window) {
  const auto key = std::pair(&part, window);
  const auto found = masks_.find(key);
  if (found != masks_.end()) return found->second;
  const int first = first_seen(part, window), length = part.context_length - first;
  const int first_position = part.context_length - part.query_length;
  const auto size = static_cast<std::size_t>(part.query_length) * length;
  const auto seen = std::make_unique<bool[]>(size);
  for (int row = 0; row < part.query_length; ++row) {
    const int position = first_position + row;
    const int from = window > 0 ? std::max(0, position - window + 1) : 0;
    bool* out = seen.get() + static_cast<std::size_t>(row) * length;
    std::fill(out + from - first, out + position + 1 - first, true);
  }
  return masks_.emplace(key, mx::array(seen.get(), {part.query_length, length}, mx::bool_))
      .first->second;
}

mx::array attend(const AttentionBlock& block, const mx::array& queries,
                 const std::optional<mx::array>& sinks, const PagedCache& cache,
                 StepLayout& layout) {
  std::vector<mx::array> outs;
  for (const StepLayout::Part& part : layout.parts()) {
    const int first = StepLayout::first_seen(part, block.window);
    const PagedCache::View kv =
        cache.read(block.layer, part.maps[cache.group_of(block.layer)], first);
    mx::array q = mx::slice(queries, {part.first_row, 0, 0},
                            {part.first_row + part.query_length, block.heads, block.head_dim});
    q = mx::expand_dims(mx::transpose(q, {1, 0, 2}), 0);

    // One row sees all that was read. Several see different beginnings only if the window is
    // shorter than what they look back on.
    const bool windowed = block.window > 0 && part.context_length > block.window;
    std::optional<mx::array> mask;
    if (part.query_length > 1 && (windowed || block.softcap > 0)) {
      mask = layout.mask(part, block.window);
    }
    const std::string mode = part.query_length == 1 ? "" : mask ? "array" : "causal";
    const mx::array out = block.softcap > 0
                              ? softcapped(block, q, kv, mask)
                              : mx::fast::scaled_dot_product_attention(
                                    q, kv.keys, kv.values, block.scale, mode, mask, sinks);
    outs.push_back(mx::reshape(mx::transpose(mx::squeeze(out, 0), {1, 0, 2}),
                               {part.query_length, block.heads * block.head_dim}));
  }
  return outs.size() == 1 ? outs[0] : mx::concatenate(outs, 0);
}

}  // namespace mlxd::mlx_backend
