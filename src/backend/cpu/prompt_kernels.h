#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backend/cpu/kernels.h"

namespace mlxd::cpu {

inline constexpr int kPromptRows = 16;  // that a tile of a matrix unit holds

// Rows of prompts as a matrix unit reads them: numbers rounded to bfloat16, 16 rows and 32 columns
// a tile, [ceil(rows / 16)][columns / 32][16][32]. What lies in the places of a last block that has
// fewer rows does not matter. A view; 64-byte aligned.
struct PromptInput {
  std::span<const int> rows;  // of the product, one for each row here
  int columns = 0;
  const std::uint16_t* tiles = nullptr;

  // Numbers of a block of rows.
  static constexpr std::ptrdiff_t block_size(int columns) {
    return static_cast<std::ptrdiff_t>(kPromptRows) * columns;
  }
  // Where the first 32 columns of a row begin; each further 32 are kGroupStride behind.
  static constexpr std::ptrdiff_t kGroupStride = kPromptRows * kGroupColumns;
  static constexpr std::ptrdiff_t place(int row, int columns) {
    return row / kPromptRows * block_size(columns) + row % kPromptRows * kGroupColumns;
  }
};

// Products of prompt rows on a matrix unit. It adds up many more products an instruction than a
// vector unit, of 16 rows at once and of bfloat16 numbers: so weights are expanded to these, once
// for many rows, and neither they nor the activations are what a decoded row is multiplied with.
// Which rows are a prompt's is therefore the request's to say, never the step's (architecture.md,
// "Arithmetic by role"). Row independent as Kernels are.
struct PromptKernels {
  // Whether it takes products by this matrix: those of codes, which lose nothing that matters.
  bool (*takes)(const PackedMatrix& matrix);
  // Rounds values[columns], whole groups, of a row into its places, of which `out` is the first.
  void (*round)(const float* values, int columns, std::uint16_t* out);
  // As Kernels::multiply, for the rows that the input names: out[rows[i] * out_stride + r].
  void (*multiply)(const PackedMatrix& matrix, const PromptInput& input, int first_tile,
                   int end_tile, float* out, std::ptrdiff_t out_stride);
};

}  // namespace mlxd::cpu
