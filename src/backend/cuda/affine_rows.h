#pragma once

#include <cstdint>
#include <vector>

#include "model/tensor.h"

namespace mlxd::cuda_backend {

// A row of quantised numbers as scale * code + bias, each code a byte and scales and biases shared
// by runs of 16 columns.
struct AffineRow {
  std::vector<std::uint8_t> codes;    // [columns]
  std::vector<float> scales, biases;  // [columns / 16]
};

// How an encoding's rows are such: bits of a code, 4 or 8 (rounded up), and the columns that share
// a scale, 16, 32 or 64 (those of more too). Bits 0: it is not of this kind, and cannot be read.
struct AffineForm {
  int bits = 0;
  int run = 0;
};
AffineForm affine_form(const Quantization& quantization);

// The file's numbers, as exact as dequantize_rows. For encodings with a form.
void read_affine_row(const Tensor& tensor, std::int64_t row, AffineRow& out);

}  // namespace mlxd::cuda_backend
