#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/kv_cache.h"

namespace mlxd::cpu {

struct PartitionQuery;

inline constexpr int kPromptRows = 16;  // that a tile of a matrix unit holds

// Rows of prompts as a matrix unit reads them: numbers rounded to bfloat16, 16 rows and 32 columns
// a tile, [ceil(rows / 16)][columns / 32][16][32]. What lies in the places of a last block that has
// fewer rows does not matter. A view; 64-byte aligned.
struct PromptInput {
  int rows = 0;
  int columns = 0;  // multiple of 32, those of the matrix or more
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

  // Rows [first, end): `first` is a multiple of kPromptRows, and `end` is one or the last row's.
  PromptInput part(int first, int end) const {
    return {end - first, columns, tiles + place(first, columns)};
  }
};

// What a call works in: weights that it has expanded, and sums of products so far. One a thread.
struct alignas(64) PromptScratch {
  // The matrix's tiles are taken two at a time, of at most 256 columns: 16 KiB of expanded weights,
  // which stay in a level-1 cache beside two blocks of rows.
  static constexpr int kTiles = 2, kGroups = 8;
  // Blocks of rows of a pass: their sums, of two tiles, are 64 KiB.
  static constexpr int kBlocks = 32;

  std::uint16_t weights[kTiles][kGroups][kTileRows * kGroupColumns];
  float sums[kBlocks][kTiles][kPromptRows * kTileRows];
};

// Where a product's rows go.
struct PromptOutput {
  float* values = nullptr;
  std::ptrdiff_t stride = 0;  // numbers between two rows
  // [rows of the input], ascending: the row that each becomes; null: in order.
  const int* places = nullptr;
};

// What a thread attends in (PromptKernels::attend). Numbers as bfloat16 in tiles, or floats; for
// `queries` padded to whole blocks of 16 and `dim` numbers of a head padded to whole groups.
struct PromptAttentionScratch {
  static constexpr int kMostGroups = 16;  // of a head

  std::uint16_t* queries = nullptr;  // 2 * queries * dim
  std::uint16_t* keys = nullptr;     // 2 * dim * 64
  std::uint16_t* values = nullptr;   // dim * 64
  std::uint16_t* weights = nullptr;  // 2 * 16 * 64
  float* scores = nullptr;           // queries * 64
  float* rest = nullptr;             // 16 * dim
};

// Products of prompt rows on a matrix unit. It adds up many more products an instruction than a
// vector unit, of 16 rows at once and of bfloat16 numbers: so weights are expanded to these, once
// for many rows, and neither they nor the activations are what a decoded row is multiplied with.
// Which rows are a prompt's is therefore the request's to say, never the step's (architecture.md,
// "Arithmetic by role"). Row independent as Kernels are. Only for matrices of codes, that is those
// that read quantised input (PackedMatrix::reads_quantized).
struct PromptKernels {
  // Rounds values[columns], whole groups, of a row into its places, of which `out` is the first.
  void (*round)(const float* values, int columns, std::uint16_t* out);
  // As Kernels::multiply: matrix row r of input row i is out.values[place * out.stride + r].
  void (*multiply)(const PackedMatrix& matrix, const PromptInput& input, int first_tile,
                   int end_tile, const PromptOutput& out, PromptScratch& scratch);
  // As KvOps::attend of the format, of prompt rows' queries; values lie apart from keys, of at most
  // kMostGroups * 32 numbers. Scores are left in the scratch. `begins`: the queries are not those
  // of the call before with this scratch.
  void (*attend)(const PartitionQuery& partition, KvFormat format, bool begins,
                 PromptAttentionScratch& scratch);
};

}  // namespace mlxd::cpu
