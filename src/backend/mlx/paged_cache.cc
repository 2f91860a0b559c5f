#include "backend/mlx/paged_cache.h"

#include <utility>

namespace mlxd::mlx_backend {
namespace {

std::vector<int> slots_of(const BatchSequence& sequence, int block_size) {
  std::vector<int> slots(static_cast<std::size_t>(sequence.context_length));
  for (int p = 0; p < sequence.context_length; ++p) {
    slots[p] = sequence.blocks[0][p / block_size] * block_size + p % block_size;
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

}  // namespace

SlotMap::SlotMap(const BatchSequence& sequence, int block_size)
    : slots_(slots_of(sequence, block_size)),
      indices_(slots_.begin(), {static_cast<mx::ShapeElem>(slots_.size())}, mx::int32) {
  run_start_ = length() - 1;
  while (run_start_ > 0 && slot(run_start_ - 1) + 1 == slot(run_start_)) --run_start_;
}

PagedCache::PagedCache(std::vector<Layer> layers, int block_size, mx::Dtype type)
    : layers_(std::move(layers)), block_size_(block_size), type_(type) {}

std::size_t PagedCache::block_bytes() const {
  std::size_t numbers = 0;
  for (const Layer& layer : layers_) {
    numbers += std::size_t{2} * layer.kv_heads * layer.head_dim;
  }
  return numbers * block_size_ * mx::size_of(type_);
}

void PagedCache::resize(int blocks) {
  keys_.clear();  // first, so that the old and the new cache never exist together
  values_.clear();
  for (const Layer& layer : layers_) {
    const mx::Shape shape = {blocks * block_size_, layer.kv_heads, layer.head_dim};
    keys_.push_back(mx::zeros(shape, type_));
    values_.push_back(mx::zeros(shape, type_));
    // Now, so that memory that is not there is missed before a request needs it.
    mx::eval(keys_.back(), values_.back());
  }
  blocks_ = blocks;
}

void PagedCache::copy_blocks(std::span<const BlockCopy> copies) {
  if (copies.empty()) return;
  std::vector<int> from, to;
  for (const BlockCopy& copy : copies) {
    for (int i = 0; i < block_size_; ++i) {
      from.push_back(copy.from * block_size_ + i);
      to.push_back(copy.to * block_size_ + i);
    }
  }
  const mx::Shape shape = {static_cast<mx::ShapeElem>(from.size())};
  const mx::array sources(from.begin(), shape, mx::int32), targets(to.begin(), shape, mx::int32);
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    const mx::array keys = mx::take(keys_[layer], sources, 0);
    const mx::array values = mx::take(values_[layer], sources, 0);
    mx::eval(keys, values);  // before the write, which then finds itself the only owner
    write_slots(keys_[layer], targets, keys);
    write_slots(values_[layer], targets, values);
  }
}

void PagedCache::write(int layer, const mx::array& slots, const mx::array& keys,
                       const mx::array& values) {
  write_slots(keys_[layer], slots, keys);
  write_slots(values_[layer], slots, values);
}

PagedCache::View PagedCache::read(int layer, const SlotMap& sequence, int first) const {
  const int length = sequence.length();
  const auto part = [&](const mx::array& cache) {
    if (!sequence.is_run_from(first)) {
      return mx::take(cache, mx::slice(sequence.indices(), {first}, {length}), 0);
    }
    const int start = sequence.slot(first);
    return mx::slice(cache, {start, 0, 0},
                     {start + length - first, cache.shape(1), cache.shape(2)});
  };
  return {heads_first(part(keys_[layer])), heads_first(part(values_[layer]))};
}

void PagedCache::append_to(std::vector<mx::array>& arrays) const {
  arrays.insert(arrays.end(), keys_.begin(), keys_.end());
  arrays.insert(arrays.end(), values_.begin(), values_.end());
}

}  // namespace mlxd::mlx_backend
