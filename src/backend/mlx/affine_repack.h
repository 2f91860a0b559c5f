#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/tensor.h"

namespace mlxd::mlx_backend {

// A matrix in MLX's affine format: w = scale * q + bias in groups of 32 columns, the q packed
// little-end first into 32-bit words.
struct AffineMatrix {
  static constexpr int kGroupSize = 32;
  int bits = 0;                      // 2, 4, 5 or 8
  std::vector<std::uint32_t> words;  // [rows, columns * bits / 32]
  std::vector<float> scales;         // [rows, columns / 32]
  std::vector<float> biases;         // [rows, columns / 32]
};

// The bits of the AffineMatrix that to_affine would make; 0 where it makes none.
int affine_bits(Encoding encoding);

// The same numbers in that format, for the GGUF formats whose groups are affine: Q4_0, Q4_1, Q5_0,
// Q5_1, Q8_0, Q4_K and Q5_K; IQ3_S and IQ1_S, whose numbers are odd; the ternary and binary ones.
// Exact: the scales and biases, at most the product of a half and a 6-bit number, fit a float.
// Nothing for all other formats (the numbers of IQ2 and IQ4 are in uneven steps, Q2_K, Q3_K, Q6_K
// and IQ1_M have groups of 16, which MLX lacks). Any thread.
std::optional<AffineMatrix> to_affine(const Tensor& tensor);

// A matrix of 4-bit floats in MLX's format: codes packed two a byte, the first in the low nibble,
// and the 8-bit scales of groups of 32 (mxfp4) or 16 columns (nvfp4).
struct SmallFloatMatrix {
  std::vector<std::uint8_t> codes;   // [rows, columns / 2]
  std::vector<std::uint8_t> scales;  // [rows, columns / group]
};

// The same numbers in that format, for GGUF's MXFP4 and NVFP4. Any thread.
SmallFloatMatrix to_small_floats(const Tensor& tensor);

}  // namespace mlxd::mlx_backend
