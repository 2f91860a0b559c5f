#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "backend/cpu/kernels.h"
#include "backend/cpu/prompt_kernels.h"

namespace mlxd::cpu {

// An array on cache-line boundaries that only grows; growing loses what it held.
template <class T>
class AlignedArray {
 public:
  void reserve(std::size_t count) {
    if (count <= capacity_) return;
    data_.reset();
    capacity_ = 0;
    data_.reset(static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(kAlignment))));
    capacity_ = count;
    std::fill_n(data_.get(), count, T{});
  }
  T* data() const { return data_.get(); }
  std::size_t bytes() const { return capacity_ * sizeof(T); }

 private:
  static constexpr std::size_t kAlignment = 64;
  struct Delete {
    void operator()(T* data) const { ::operator delete(data, std::align_val_t(kAlignment)); }
  };
  std::unique_ptr<T, Delete> data_;
  std::size_t capacity_ = 0;
};

// Elements between two rows of `columns`: whole cache lines, and an odd number of them, so that a
// kernel that walks down a column of many rows does not meet the same cache set again and again.
template <class T>
constexpr std::ptrdiff_t row_stride(int columns) {
  constexpr std::ptrdiff_t line = 64 / sizeof(T);
  return ((columns + line - 1) / line | 1) * line;
}

// Rows of floats, [rows, columns].
class RowBuffer {
 public:
  void reserve(int rows, int columns) {
    stride_ = row_stride<float>(columns);
    data_.reserve(static_cast<std::size_t>(rows) * stride_);
  }
  // What `reserve` takes.
  static std::size_t bytes_for(int rows, int columns) {
    return static_cast<std::size_t>(rows) * row_stride<float>(columns) * sizeof(float);
  }

  float* row(int index) const { return data_.data() + index * stride_; }
  std::ptrdiff_t stride() const { return stride_; }
  std::size_t bytes() const { return data_.bytes(); }

 private:
  AlignedArray<float> data_;
  std::ptrdiff_t stride_ = 0;
};

// Rows of floats and their quantised form: the input of matrix products. And, where prompt rows are
// multiplied on a matrix unit, these in the form that it reads, side by side.
class InputBuffer {
 public:
  // `unit`: there is one.
  void reserve(int rows, int columns, bool unit = false) {
    columns_ = columns;
    if (unit) tiles_.reserve(tile_bytes_for(rows, columns) / sizeof(std::uint16_t));
    values_.reserve(rows, columns);
    groups_ = row_stride<float>(columns / kGroupColumns);
    stride_ = row_stride<std::int8_t>(columns);
    quantized_.reserve(static_cast<std::size_t>(rows) * stride_);
    scales_.reserve(static_cast<std::size_t>(rows) * groups_);
    sums_.reserve(static_cast<std::size_t>(rows) * groups_);
  }

  // What `reserve` takes.
  static std::size_t bytes_for(int rows, int columns) {
    const std::size_t groups = row_stride<float>(columns / kGroupColumns) * 2 * sizeof(float);
    return RowBuffer::bytes_for(rows, columns) +
           static_cast<std::size_t>(rows) * (row_stride<std::int8_t>(columns) + groups);
  }

  // With a unit, beside that.
  static std::size_t tile_bytes_for(int rows, int columns) {
    const int blocks = (rows + kPromptRows - 1) / kPromptRows;
    return static_cast<std::size_t>(blocks) * PromptInput::block_size(columns) *
           sizeof(std::uint16_t);
  }

  float* values(int row) const { return values_.row(row); }
  std::ptrdiff_t value_stride() const { return values_.stride(); }
  std::size_t bytes() const {
    return values_.bytes() + quantized_.bytes() + scales_.bytes() + sums_.bytes() + tiles_.bytes();
  }

  // Quantises columns [first, first + count) of a row, whole groups, from `values`.
  void quantize(const Kernels& kernels, int row, int first, int count, const float* values) const {
    const std::ptrdiff_t group = row * groups_ + first / kGroupColumns;
    kernels.quantize(values, count, quantized_.data() + row * stride_ + first,
                     scales_.data() + group, sums_.data() + group);
  }

  // Columns [first, first + count) of a row from `values`: quantised where the products that read
  // them want that, whole groups, and else as they are.
  void put(const Kernels& kernels, bool quantized, int row, int first, int count,
           const float* from) const {
    if (quantized) {
      quantize(kernels, row, first, count, from);
    } else {
      std::copy_n(from, count, values(row) + first);
    }
  }

  // The same columns of what is prompt row `index` for the unit.
  void round(const PromptKernels& unit, int index, int first, int count,
             const float* values) const {
    unit.round(values, count,
               tiles_.data() + PromptInput::place(index, columns_) +
                   first / kGroupColumns * PromptInput::kGroupStride);
  }
  // The first so many prompt rows.
  PromptInput prompts(int rows) const { return {rows, columns_, tiles_.data()}; }

  // Row `from` of `source` as row `to` of this: the quantised form and the values.
  void copy_row(int to, const InputBuffer& source, int from) const {
    std::copy_n(source.values(from), columns_, values(to));
    std::copy_n(source.quantized_.data() + from * stride_, columns_,
                quantized_.data() + to * stride_);
    const int groups = columns_ / kGroupColumns;
    std::copy_n(source.scales_.data() + from * groups_, groups, scales_.data() + to * groups_);
    std::copy_n(source.sums_.data() + from * groups_, groups, sums_.data() + to * groups_);
  }

  InputRows view(int first, int rows) const {
    return {.rows = rows,
            .columns = columns_,
            .values = values_.row(first),
            .quantized = quantized_.data() + first * stride_,
            .scales = scales_.data() + first * groups_,
            .sums = sums_.data() + first * groups_,
            .value_stride = values_.stride(),
            .quantized_stride = stride_,
            .group_stride = groups_};
  }

 private:
  int columns_ = 0;
  RowBuffer values_;
  AlignedArray<std::int8_t> quantized_;
  AlignedArray<float> scales_, sums_;
  AlignedArray<std::uint16_t> tiles_;
  std::ptrdiff_t stride_ = 0, groups_ = 0;
};

}  // namespace mlxd::cpu
