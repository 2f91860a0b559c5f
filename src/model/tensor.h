#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/quantization.h"

namespace mlxd {

// A weight as it lies in the model file: a view, valid while its WeightSource lives. Row-major;
// a matrix is [rows, columns] with columns the dimension that a matrix-vector product sums over.
// A reader has checked that `data` (and scales, biases) hold exactly what the shape says; it does
// not promise any alignment (safetensors files pack their tensors byte after byte).
struct Tensor {
  std::string name;  // Hugging Face module path, e.g. "model.layers.0.self_attn.q_proj.weight"
  Quantization quantization;
  std::int64_t rows = 1;
  std::int64_t columns = 0;  // a vector is one row
  std::span<const std::byte> data;
  std::span<const std::byte> scales;  // MLX: [rows, columns / group_size]
  std::span<const std::byte> biases;  // mlx_affine: [rows, columns / group_size]
  float scale = 1;                    // nvfp4: of the whole tensor

  std::size_t byte_size() const { return data.size() + scales.size() + biases.size(); }
};

// Decodes rows [first, first + count) into out[count * columns], exactly as the format defines it.
// The reference that every kernel is tested against; also the way odd formats are repacked at load.
void dequantize_rows(const Tensor& tensor, std::int64_t first, std::int64_t count,
                     std::span<float> out);

// The whole of a small tensor (a norm, a bias) as floats.
std::vector<float> dequantize(const Tensor& tensor);

float half_to_float(std::uint16_t bits);
std::uint16_t float_to_half(float value);  // round to nearest, ties to even
float bfloat16_to_float(std::uint16_t bits);
float e4m3_to_float(std::uint8_t bits);  // no infinities; 127 and 255 are no numbers

}  // namespace mlxd
