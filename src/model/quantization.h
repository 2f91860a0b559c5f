// model: what a model file holds, as data: configuration, weights, vocabulary, and the plan of
// operations that every backend executes. Read at load time by serve/, cli/ and the backends; no
// threads, no devices. Adding an architecture is one file under architectures/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace mlxd {

// How the numbers of one tensor are stored. The GGUF block formats are those of ggml
// (llama.cpp, ggml-common.h); mlx_affine is `w = scale * q + bias` per group along the columns, the
// q packed little-end first into 32-bit words (mlx.core.quantize), and the other modes of MLX are
// small floats `w = scale * q`, packed alike, with an 8-bit float as the scale of each group.
enum class Encoding {
  f32,
  f16,
  bf16,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
  iq3_xxs,
  iq3_s,
  iq2_xxs,
  iq2_xs,
  iq2_s,
  iq1_s,
  iq1_m,
  tq1_0,
  tq2_0,
  q1_0,
  q2_0,
  mxfp4,
  nvfp4,
  mlx_affine,
  mlx_mxfp4,  // 4 bits (E2M1) in groups of 32 with an E8M0 scale
  mlx_nvfp4,  // 4 bits (E2M1) in groups of 16 with an E4M3 scale
  mlx_mxfp8   // 8 bits (E4M3) in groups of 32 with an E8M0 scale
};

struct Quantization {
  Encoding encoding = Encoding::f32;
  int bits = 0;        // MLX only; affine: 2, 3, 4, 5, 6 or 8
  int group_size = 0;  // MLX only: columns that share a scale; affine: 32, 64 or 128
  Encoding scale_encoding = Encoding::f16;  // mlx_affine only: of scales and biases

  bool operator==(const Quantization&) const = default;
};

// Of MLX's own formats, whose scales lie in a tensor of their own.
bool is_mlx(Encoding encoding);

// "Q4_K", "F16", "affine 4-bit, group 64", "mxfp4".
std::string to_string(const Quantization& quantization);

// Columns that must be stored together (1 for plain floats, 32 or 256 for GGUF blocks, the group
// size for MLX); a row is a whole number of them.
int block_columns(const Quantization& quantization);

// Bytes of one row of `columns` numbers in Tensor::data (for MLX: the packed words alone).
std::size_t row_bytes(const Quantization& quantization, std::int64_t columns);

}  // namespace mlxd
