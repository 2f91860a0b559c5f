#include "backend/cpu/attention_layers.h"

#include <algorithm>
#include <span>
#include <utility>

namespace mlxd::cpu {
namespace {

// So many numbers one worker rotates sooner by itself than two that share them.
constexpr int kFewNumbers = 2048;

AttentionShape shape_of(const PackedAttention& block) {
  return {block.heads, block.kv_heads, block.head_dim, block.softcap, block.window};
}

// Whether an attention task fills whole groups of columns, so that it can quantise them.
bool finishes_groups(const PackedAttention& block) {
  return block.heads / block.kv_heads * block.head_dim % kGroupColumns == 0;
}

}  // namespace

void AttentionLayers::add(const PackedAttention& block, const Residual* left, const Stream& from,
                          const Stream& to) {
  query_columns_ = std::max(query_columns_, block.heads * block.head_dim);
  kv_columns_ = std::max(kv_columns_, block.kv_heads * block.head_dim);
  gate_columns_ = std::max(gate_columns_, block.gate ? block.heads * block.head_dim : 0);
  bool quantize = quantized(block.query);
  std::vector<Product> products;
  if (!block.shares_cache) {
    quantize = quantize || quantized(block.key) || (block.value && quantized(*block.value));
    products.push_back({.linear = &block.key, .stream = &from, .out = &key_});
    if (block.value) products.push_back({.linear = &*block.value, .stream = &from, .out = &value_});
  }
  step_.add_norm(from, left, address(block.input_norm), step_.reads(from, quantize),
                 /*narrow=*/&from != &to);
  products.push_back({.linear = &block.query, .stream = &to, .out = &query_});
  if (block.gate) products.push_back({.linear = &*block.gate, .stream = &to, .out = &gate_});
  step_.add_products(std::move(products));
  if (block.norms_rows(block.query_norm)) add_row_norm(to, block.query_norm, query_);
  if (block.norms_rows(block.key_norm)) add_row_norm(from, block.key_norm, key_);
  add_rotation(block, to);
  add_tasks(block, to);
  step_.add_products(
      {{.linear = &block.output, .stream = &to, .input = &attended_, .out = &step_.y()}});
}

// The norm of all heads of q or k as one vector, in place.
void AttentionLayers::add_row_norm(const Stream& stream, const std::optional<RmsNorm>& norm,
                                   const RowBuffer& rows) {
  step_.add_rows(stream, [this, &norm = *norm, &rows](int, int row) {
    const int count = static_cast<int>(norm.weight.size());
    step_.ops().rms_norm(rows.row(row), norm.weight.data(), norm.epsilon, count, rows.row(row));
  });
}

// Per-head norms, rotation and scale of q and k in place; k and v into the cache.
void AttentionLayers::add_rotation(const PackedAttention& block, const Stream& to) {
  const auto keys = [this, &block] {
    return block.shares_cache ? 0 : step_.all().rows * block.kv_heads;
  };
  const auto heads = [&block, &to, keys] { return keys() + to.rows * block.heads; };
  step_.add_grains(
      std::max(1, kFewNumbers / block.head_dim), heads, [this, &block, &to, keys](int, Range part) {
        const int stored = keys();
        store_keys(block, {std::min(part.first, stored), std::min(part.end, stored)});
        rotate_queries(block, to, {std::max(part.first - stored, 0), part.end - stored});
      });
}

void AttentionLayers::add_tasks(const PackedAttention& block, const Stream& to) {
  const Reads reads = step_.reads(to, quantized(block.output));
  attention_.add_tasks(
      shape_of(block), to,
      [this, &block, unit = step_.unit(to)]() -> AttentionWork::Data {
        return {.cache = &attention_.cache(),
                .batch = &step_.batch(),
                .layer = block.layer,
                .query = &query_,
                .out = attended_.values(0),
                .row_stride = attended_.value_stride(),
                .head_stride = block.head_dim,
                .sinks = block.sinks,
                .unit = unit};
      },
      [this, &block, reads](const AttentionWork::Finished& part) { finish(block, reads, part); });
  if (finishes_groups(block) || reads == Reads::values) return;
  step_.add_rows(to, [this, reads, columns = block.heads * block.head_dim](int, int row) {
    step_.put(attended_, reads, row, {0, columns}, attended_.values(row));
  });
}

void AttentionLayers::reserve(int rows) {
  if (query_columns_ == 0) return;  // no block has attention
  for (RowBuffer* buffer : {&key_, &value_}) buffer->reserve(rows, kv_columns_);
  query_.reserve(rows, query_columns_);
  if (gate_columns_ > 0) gate_.reserve(rows, gate_columns_);
  attended_.reserve(rows, query_columns_, step_.has_unit());
}

std::size_t AttentionLayers::bytes() const {
  std::size_t bytes = attended_.bytes();
  for (const RowBuffer* buffer : {&query_, &key_, &value_, &gate_}) bytes += buffer->bytes();
  return bytes;
}

void AttentionLayers::turn(const PackedAttention& block, const std::optional<RmsNorm>& norm,
                           int position, float* head) {
  const VectorOps& ops = step_.ops();
  if (block.norms_heads(norm)) {
    ops.rms_norm(head, norm->weight.data(), norm->epsilon, block.head_dim, head);
  }
  if (block.rope < 0) return;
  const RopeTable& rope = attention_.rope(block.rope);
  ops.rotate(head, rope.cosines(position), rope.sines(position), rope.half());
}

void AttentionLayers::store_keys(const PackedAttention& block, Range heads) {
  const Batch& batch = step_.batch();
  const KvCache& cache = attention_.cache();
  const int d = block.head_dim, group = cache.group_of(block.layer);
  const KvOps& kv = step_.ops().kv(cache.format());
  std::size_t s = 0;
  for (int i = heads.first; i < heads.end; ++i) {
    const int row = i / block.kv_heads, head = i % block.kv_heads;
    while (row >= batch.sequences[s].first_row + batch.sequences[s].query_length) ++s;
    const int position = batch.positions[row];
    const auto [at, tile, slot] = attention_.slot_of(group, batch.sequences[s], position);
    float* key = key_.row(row) + head * d;
    float* value = value_.row(row) + head * d;
    if (!block.value) std::copy_n(key, d, value);
    turn(block, block.key_norm, position, key);
    kv.store_key(key, d, cache.keys(block.layer, at, head, tile), slot);
    if (const auto& norm = block.value_norm) {
      step_.ops().rms_norm(value, norm->weight.data(), norm->epsilon, d, value);
    }
    kv.store_value(value, d, cache.values(block.layer, at, head, tile), slot);
  }
}

void AttentionLayers::rotate_queries(const PackedAttention& block, const Stream& to, Range heads) {
  const std::span<const int> positions = step_.positions(to);
  for (int i = heads.first; i < heads.end; ++i) {
    const int row = i / block.heads;
    float* query = query_.row(row) + i % block.heads * block.head_dim;
    turn(block, block.query_norm, positions[row], query);
    const float temperature = block.temperature ? block.temperature->at(positions[row]) : 1;
    step_.ops().scale(query, block.scale * temperature, block.head_dim);
  }
}

// Gates what a task has finished, and puts it where products read it, if that is whole groups of
// columns.
void AttentionLayers::finish(const PackedAttention& block, Reads reads,
                             const AttentionWork::Finished& part) {
  const int columns = block.heads / block.kv_heads * block.head_dim;
  const int first = part.kv_head * columns;
  for (int row = part.first_row; block.gate && row < part.first_row + part.rows; ++row) {
    step_.ops().sigmoid_gate(attended_.values(row) + first, gate_.row(row) + first, columns);
  }
  if (!finishes_groups(block) || reads == Reads::values) return;
  for (int row = part.first_row; row < part.first_row + part.rows; ++row) {
    step_.put(attended_, reads, row, {first, first + columns}, attended_.values(row) + first);
  }
}

}  // namespace mlxd::cpu
