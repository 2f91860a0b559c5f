#include "backend/mlx/paged_cache.h"

#include <utility>

namespace mlxd::mlx_backend {
namespace {

constexpr int kNoSlot = -1;

std::vector<int> slots_of(std::span<const int> blocks, int length, int block_size) {
  std::vector<int> slots(static_cast<std::size_t>(length), kNoSlot);
  for (int p = 0; p < length; ++p) {
    const int block = blocks[p / block_size];
    if (block >= 0) slots[p] = block * block_size + p % block_size;
  }
  return slots;
}

// [positions, heads, dim] -> [1, heads, positions, dim]
mx::array heads_first(const mx::array& x) {
  return mx::expand_dims(mx::transpose(x, {1, 0, 2}), 0);
}

void write_slots(mx::array& cache, const mx::array& slots, const mx::array& rows) {
  // After this the old array's only owner is the graph, so its memory is written in place.
  cache = mx::scatter(cache, slots, mx::expand_dims(mx::astype(rows, cache.dtype()), 1), 0);
}

// Positions [first, length) of a sequence: [1, heads, positions, dim].
mx::array rows_of(const mx::array& cache, const SlotMap& sequence, int first) {
  const int length = sequence.length();
  if (!sequence.is_run_from(first)) {
    return heads_first(mx::take(cache, mx::slice(sequence.indices(), {first}, {length}), 0));
  }
  const int start = sequence.slot(first);
  return heads_first(
      mx::slice(cache, {start, 0, 0}, {start + length - first, cache.shape(1), cache.shape(2)}));
}

}  // namespace

SlotMap::SlotMap(std::span<const int> blocks, int length, int block_size)
    : slots_(slots_of(blocks, length, block_size)),
      indices_(slots_.begin(), {static_cast<mx::ShapeElem>(slots_.size())}, mx::int32) {
  run_start_ = static_cast<int>(slots_.size()) - 1;
  const auto goes_on = [this](int p) { return slot(p) != kNoSlot && slot(p) + 1 == slot(p + 1); };
  while (run_start_ > 0 && goes_on(run_start_ - 1)) --run_start_;
}

PagedCache::PagedCache(std::vector<Layer> layers, std::vector<int> windows, int block_size,
                       mx::Dtype type)
    : layers_(std::move(layers)),
      windows_(std::move(windows)),
      block_size_(block_size),
      type_(type) {}

std::vector<KvGroup> PagedCache::groups() const {
  std::vector<KvGroup> groups;
  for (const int window : windows_) groups.push_back({0, window});
  for (const Layer& layer : layers_) {
    groups[layer.group].block_bytes += std::size_t{layer.values_in_keys ? 1u : 2u} *
                                       layer.kv_heads * layer.head_dim * block_size_ *
                                       mx::size_of(type_);
  }
  return groups;
}

void PagedCache::resize(std::span<const int> blocks) {
  keys_.clear();  // first, so that the old and the new cache never exist together
  values_.clear();
  for (const Layer& layer : layers_) {
    const mx::Shape shape = {blocks[layer.group] * block_size_, layer.kv_heads, layer.head_dim};
    keys_.push_back(mx::zeros(shape, type_));
    auto& values = values_.emplace_back();
    if (!layer.values_in_keys) values = mx::zeros(shape, type_);
    // Now, so that memory that is not there is missed before a request needs it.
    mx::eval(keys_.back());
    if (values) mx::eval(*values);
  }
}

void PagedCache::copy_blocks(std::span<const BlockCopy> copies) {
  for (int group = 0; group < static_cast<int>(windows_.size()); ++group) {
    std::vector<int> from, to;
    for (const BlockCopy& copy : copies) {
      if (copy.group != group) continue;
      for (int i = 0; i < block_size_; ++i) {
        from.push_back(copy.from * block_size_ + i);
        to.push_back(copy.to * block_size_ + i);
      }
    }
    if (!from.empty()) copy_slots(group, from, to);
  }
}

void PagedCache::copy_slots(int group, const std::vector<int>& from, const std::vector<int>& to) {
  const mx::Shape shape = {static_cast<mx::ShapeElem>(from.size())};
  const mx::array sources(from.begin(), shape, mx::int32), targets(to.begin(), shape, mx::int32);
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    if (layers_[layer].group != group) continue;
    const auto copy = [&](mx::array& cache) {
      const mx::array rows = mx::take(cache, sources, 0);
      mx::eval(rows);  // before the write, which then finds itself the only owner
      write_slots(cache, targets, rows);
    };
    copy(keys_[layer]);
    if (values_[layer]) copy(*values_[layer]);
  }
}

void PagedCache::write(int layer, const mx::array& slots, const mx::array& keys,
                       const mx::array& values) {
  write_slots(keys_[layer], slots, keys);
  write_slots(*values_[layer], slots, values);
}

void PagedCache::write_keys(int layer, const mx::array& slots, const mx::array& keys) {
  write_slots(keys_[layer], slots, keys);
}

PagedCache::View PagedCache::read(int layer, const SlotMap& sequence, int first) const {
  return {rows_of(keys_[layer], sequence, first), rows_of(*values_[layer], sequence, first)};
}

mx::array PagedCache::read_keys(int layer, const SlotMap& sequence, int first) const {
  return rows_of(keys_[layer], sequence, first);
}

void PagedCache::append_to(std::vector<mx::array>& arrays) const {
  arrays.insert(arrays.end(), keys_.begin(), keys_.end());
  for (const auto& values : values_) {
    if (values) arrays.push_back(*values);
  }
}

}  // namespace mlxd::mlx_backend
