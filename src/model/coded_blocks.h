#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "model/tensor.h"

namespace mlxd {

// Formats whose weights are small integers out of a table (the smaller K-quants, the IQ, FP4,
// ternary and binary types), as these integers. Their layouts are written down once, here:
// dequantize_rows turns the integers into floats, and a backend that packs them anew loses nothing.

inline constexpr int kRunColumns = 16;

// Columns that share a scale: weight[i] = scale * table.values[codes[i]] - minimum, exactly.
struct CodeRun {
  std::array<std::uint8_t, kRunColumns> codes;
  float scale = 0, minimum = 0;
  // What the file makes them of: scale = factor * level, minimum = minimum_factor * minimum_level.
  // Where a scale is an 8-bit float of its own, `level` is its byte, and the scale is half of what
  // that says, since the table holds FP4 doubled: E8M0 for MXFP4, E4M3 without a sign for NVFP4
  // (of a negative one the codes have taken the sign over).
  float factor = 0, minimum_factor = 0;
  int level = 0, minimum_level = 0;
};

struct CodeTable {
  int bits;                            // of a code: 1 to 4
  std::array<std::int8_t, 16> values;  // the first 2^bits count
};

// Half of the number that a scale's byte stands for: 2^(byte - 128), and E4M3 of 7 bits (of which
// the last, else no number, is 480).
float half_of_e8m0(int byte);
float half_of_e4m3(int byte);

// Null for a format that is not of this kind.
const CodeTable* code_table(Encoding encoding);

// One row, run by run: `runs` has room for columns / 16. For formats with a code table.
void read_code_runs(const Tensor& tensor, std::int64_t row, std::span<CodeRun> runs);

}  // namespace mlxd
