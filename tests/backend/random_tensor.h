// Weight tensors of every format that mlxd reads, made at random.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "model/tensor.h"

namespace mlxd::test {

// Where a GGUF block keeps its f16 factors; all other bytes may be anything.
struct BlockFactors {
  int bytes;
  std::vector<int> offsets;
};

inline BlockFactors block_factors(Encoding encoding) {
  switch (encoding) {
    case Encoding::q4_0:
      return {18, {0}};
    case Encoding::q4_1:
      return {20, {0, 2}};
    case Encoding::q5_0:
      return {22, {0}};
    case Encoding::q5_1:
      return {24, {0, 2}};
    case Encoding::q8_0:
      return {34, {0}};
    case Encoding::q4_k:
      return {144, {0, 2}};
    case Encoding::q5_k:
      return {176, {0, 2}};
    case Encoding::q6_k:
      return {210, {208}};
    case Encoding::q2_k:
      return {84, {80, 82}};
    case Encoding::q3_k:
      return {110, {108}};
    case Encoding::iq4_nl:
    case Encoding::q1_0:
    case Encoding::q2_0:
      return {18, {0}};
    case Encoding::iq4_xs:
      return {136, {0}};
    case Encoding::iq3_xxs:
      return {98, {0}};
    case Encoding::iq3_s:
      return {110, {0}};
    case Encoding::iq2_xxs:
      return {66, {0}};
    case Encoding::iq2_xs:
      return {74, {0}};
    case Encoding::iq2_s:
      return {82, {0}};
    case Encoding::iq1_s:
      return {50, {0}};
    case Encoding::tq1_0:
      return {54, {52}};
    case Encoding::tq2_0:
      return {66, {64}};
    default:
      return {0, {}};
  }
}

inline std::uint16_t encode_scale(float value, Encoding encoding) {
  if (encoding == Encoding::f16) return float_to_half(value);
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>(bits >> 16);
}

// A tensor that owns its bytes.
class RandomTensor {
 public:
  RandomTensor(const Quantization& quantization, int rows, int columns, unsigned seed)
      : random_(seed) {
    tensor_.name = "random";
    tensor_.quantization = quantization;
    tensor_.rows = rows;
    tensor_.columns = columns;
    data_.resize(static_cast<std::size_t>(rows) * row_bytes(quantization, columns));
    for (std::byte& byte : data_) byte = static_cast<std::byte>(random_() & 255);
    switch (quantization.encoding) {
      case Encoding::f32:
      case Encoding::f16:
      case Encoding::bf16:
        fill_floats();
        break;
      case Encoding::mlx_affine: {
        const int blocks = rows * (columns / quantization.group_size);
        scales_ = factors(blocks);
        biases_ = factors(blocks);
        break;
      }
      case Encoding::mlx_mxfp4:
      case Encoding::mlx_mxfp8:
      case Encoding::mlx_nvfp4:
        scales_.resize(data_.size() * 8 / static_cast<std::size_t>(quantization.bits) /
                       static_cast<std::size_t>(quantization.group_size));
        fill_small_floats();
        break;
      case Encoding::mxfp4:
        for (std::size_t at = 0; at < data_.size(); at += 17) data_[at] = exponent();
        break;
      case Encoding::iq1_m:  // the f16 factor lies in the top nibbles of four words
        for (std::size_t at = 48; at < data_.size(); at += 56) {
          const std::uint16_t bits = float_to_half(factor());
          for (std::size_t i = 0; i < 4; ++i) {
            std::byte& top = data_[at + 2 * i + 1];
            top = (top & std::byte{15}) | std::byte(((bits >> (4 * i)) & 15) << 4);
          }
        }
        break;
      case Encoding::nvfp4:  // any byte is a scale, but 255 is no number to MLX
        for (std::size_t at = 0; at < data_.size(); at += 36) {
          for (std::size_t i = 0; i < 4; ++i) data_[at + i] &= std::byte{127};
        }
        tensor_.scale = std::ldexp(1.7f, -static_cast<int>(seed % 9));
        break;
      default:
        fill_factors();
    }
    tensor_.data = data_;
    tensor_.scales = scales_;
    tensor_.biases = biases_;
  }
  RandomTensor(const RandomTensor&) = delete;
  RandomTensor& operator=(const RandomTensor&) = delete;

  const Tensor& get() const { return tensor_; }

 private:
  float factor() { return std::normal_distribution<float>(0.0f, 0.02f)(random_); }

  void fill_floats() {
    const Encoding encoding = tensor_.quantization.encoding;
    const std::size_t size = encoding == Encoding::f32 ? 4 : 2;
    for (std::size_t at = 0; at < data_.size(); at += size) {
      const float value = factor();
      const std::uint16_t bits = encode_scale(value, encoding);
      std::memcpy(&data_[at], size == 4 ? static_cast<const void*>(&value) : &bits, size);
    }
  }

  // E8M0: 2^-10 to 2^5, and at times the two least, which are subnormal.
  std::byte exponent() {
    return std::byte(random_() % 20 == 0 ? random_() % 2 : 117 + random_() % 16);
  }

  // Scales of MLX's small floats, and for E4M3 numbers and scales anything but what is no number.
  void fill_small_floats() {
    const bool nvfp4 = tensor_.quantization.encoding == Encoding::mlx_nvfp4;
    const auto number = [&] {
      const auto byte = static_cast<unsigned>(random_() & 255);
      return std::byte((byte & 127) == 127 ? byte - 1 : byte);
    };
    for (std::byte& scale : scales_) scale = nvfp4 ? number() : exponent();
    if (tensor_.quantization.encoding == Encoding::mlx_mxfp8) {
      for (std::byte& byte : data_) byte = number();
    }
  }

  void fill_factors() {
    const BlockFactors block = block_factors(tensor_.quantization.encoding);
    for (std::size_t at = 0; at < data_.size(); at += static_cast<std::size_t>(block.bytes)) {
      for (const int offset : block.offsets) {
        const std::uint16_t bits = float_to_half(factor());
        std::memcpy(&data_[at + static_cast<std::size_t>(offset)], &bits, sizeof bits);
      }
    }
  }

  std::vector<std::byte> factors(int count) {
    const Encoding encoding = tensor_.quantization.scale_encoding;
    const std::size_t size = encoding == Encoding::f32 ? 4 : 2;
    std::vector<std::byte> out(static_cast<std::size_t>(count) * size);
    for (std::size_t at = 0; at < out.size(); at += size) {
      const float value = half_to_float(float_to_half(factor()));
      const std::uint16_t bits = encode_scale(value, encoding);
      std::memcpy(&out[at], size == 4 ? static_cast<const void*>(&value) : &bits, size);
    }
    return out;
  }

  std::mt19937 random_;
  Tensor tensor_;
  std::vector<std::byte> data_, scales_, biases_;
};

inline std::vector<Quantization> all_quantizations() {
  std::vector<Quantization> all;
  for (const Encoding encoding :
       {Encoding::f32,     Encoding::f16,   Encoding::bf16,    Encoding::q4_0,   Encoding::q4_1,
        Encoding::q5_0,    Encoding::q5_1,  Encoding::q8_0,    Encoding::q4_k,   Encoding::q5_k,
        Encoding::q6_k,    Encoding::q2_k,  Encoding::q3_k,    Encoding::iq4_nl, Encoding::iq4_xs,
        Encoding::iq3_xxs, Encoding::iq3_s, Encoding::iq2_xxs, Encoding::iq2_xs, Encoding::iq2_s,
        Encoding::iq1_s,   Encoding::iq1_m, Encoding::tq1_0,   Encoding::tq2_0,  Encoding::q1_0,
        Encoding::q2_0,    Encoding::mxfp4, Encoding::nvfp4}) {
    all.push_back({.encoding = encoding});
  }
  all.push_back({Encoding::mlx_mxfp4, 4, 32});
  all.push_back({Encoding::mlx_nvfp4, 4, 16});
  all.push_back({Encoding::mlx_mxfp8, 8, 32});
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group_size : {32, 64, 128}) {
      const Encoding scales = group_size == 64 ? Encoding::bf16 : Encoding::f16;
      all.push_back({Encoding::mlx_affine, bits, group_size, scales});
    }
  }
  all.push_back({Encoding::mlx_affine, 4, 64, Encoding::f32});
  return all;
}

}  // namespace mlxd::test
