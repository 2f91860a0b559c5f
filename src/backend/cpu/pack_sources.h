// What packed_matrix_pack.cc packs: each source format as a class that gives the codes of one group
// of a row and writes the scales of one block.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "backend/cpu/packed_matrix.h"
#include "base/check.h"
#include "model/coded_blocks.h"

namespace mlxd::cpu {
namespace {

// The 32 codes of a group, one a byte: word k holds columns 4k .. 4k + 3.
using GroupCodes = std::uint32_t[8];

constexpr std::uint32_t kLowNibbles = 0x0f0f0f0f;

template <class T>
T load(const std::uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

void put_u16(std::uint8_t* to, const std::uint8_t* from) { std::memcpy(to, from, 2); }

// Bits 0..3 of `bits` as the lowest bits of four bytes.
std::uint32_t spread_bits(std::uint32_t bits) { return ((bits & 15) * 0x00204081u) & 0x01010101u; }

// A nibble-coded group of the legacy GGUF formats: columns 0..15 low, 16..31 high.
void legacy_nibbles(const std::uint8_t* nibbles, GroupCodes& codes) {
  for (int k = 0; k < 4; ++k) {
    const auto word = load<std::uint32_t>(nibbles + 4 * k);
    codes[k] = word & kLowNibbles;
    codes[k + 4] = (word >> 4) & kLowNibbles;
  }
}

void add_fifth_bits(std::uint32_t bits, GroupCodes& codes) {
  for (int k = 0; k < 8; ++k) codes[k] |= spread_bits(bits >> (4 * k)) << 4;
}

// Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: blocks of 32 with their own scale.
template <int kBits, bool kMin>
class LegacySource {
 public:
  static constexpr int kCodeBits = kBits;

  LegacySource(const Tensor& tensor, std::int64_t row)
      : row_(reinterpret_cast<const std::uint8_t*>(tensor.data.data()) +
             row * (tensor.columns / kGroupColumns) * kBlockBytes) {}

  void codes(int group, GroupCodes& out) const {
    const std::uint8_t* block = row_ + group * kBlockBytes + kScaleBytes;
    if constexpr (kBits == 8) {
      for (int k = 0; k < 8; ++k) out[k] = load<std::uint32_t>(block + 4 * k) ^ 0x80808080u;
    } else if constexpr (kBits == 5) {
      legacy_nibbles(block + 4, out);
      add_fifth_bits(load<std::uint32_t>(block), out);
    } else {
      legacy_nibbles(block, out);
    }
  }

  void scales(int first_group, int count, std::uint8_t* header, int row) const {
    for (int g = 0; g < count; ++g) {
      const std::uint8_t* block = row_ + (first_group + g) * kBlockBytes;
      put_u16(header + 32 * g + 2 * row, block);
      if (kMin) put_u16(header + 32 + 2 * row, block + 2);
    }
  }

 private:
  static constexpr int kScaleBytes = kMin ? 4 : 2;
  static constexpr int kBlockBytes = kScaleBytes + kBits * kGroupColumns / 8;
  const std::uint8_t* row_;
};

// Q4_K and Q5_K: 256 columns with f16 d and dmin over 6-bit scales and minima of each 32.
template <int kBits>
class KSource {
 public:
  static constexpr int kCodeBits = kBits;

  KSource(const Tensor& tensor, std::int64_t row)
      : row_(reinterpret_cast<const std::uint8_t*>(tensor.data.data()) +
             row * (tensor.columns / 256) * kBlockBytes) {}

  void codes(int group, GroupCodes& out) const {
    const std::uint8_t* block = row_ + group / 8 * kBlockBytes;
    const int sub = group % 8;  // even: low nibbles of the pair's 32 bytes, odd: high nibbles
    const std::uint8_t* nibbles = block + kBlockBytes - 128 + sub / 2 * 32;
    for (int k = 0; k < 8; ++k) {
      out[k] = (load<std::uint32_t>(nibbles + 4 * k) >> (sub % 2 * 4)) & kLowNibbles;
      if constexpr (kBits == 5) {
        out[k] |= ((load<std::uint32_t>(block + 16 + 4 * k) >> sub) & 0x01010101u) << 4;
      }
    }
  }

  void scales(int first_group, int, std::uint8_t* header, int row) const {
    const std::uint8_t* block = row_ + first_group / 8 * kBlockBytes;
    put_u16(header + 2 * row, block);
    put_u16(header + 32 + 2 * row, block + 2);
    const std::uint8_t* packed = block + 4;
    std::uint8_t* levels = header + 64 + row;
    for (int j = 0; j < 4; ++j) {
      levels[16 * j] = packed[j] & 63;
      levels[128 + 16 * j] = packed[j + 4] & 63;
      levels[16 * (j + 4)] =
          static_cast<std::uint8_t>((packed[j + 8] & 15) | ((packed[j] >> 6) << 4));
      levels[128 + 16 * (j + 4)] =
          static_cast<std::uint8_t>((packed[j + 8] >> 4) | ((packed[j + 4] >> 6) << 4));
    }
  }

 private:
  static constexpr int kBlockBytes = 16 + (kBits == 5 ? 32 : 0) + 128;
  const std::uint8_t* row_;
};

// Q6_K: 256 columns with an f16 d over an int8 scale of each 16.
class Q6Source {
 public:
  static constexpr int kCodeBits = 6;

  Q6Source(const Tensor& tensor, std::int64_t row)
      : row_(reinterpret_cast<const std::uint8_t*>(tensor.data.data()) +
             row * (tensor.columns / 256) * kBlockBytes) {}

  void codes(int group, GroupCodes& out) const {
    const int half = group % 8 / 4, quarter = group % 4;
    const std::uint8_t* block = row_ + group / 8 * kBlockBytes;
    const std::uint8_t* low = block + 64 * half + 32 * (quarter % 2);
    const std::uint8_t* high = block + 128 + 32 * half;
    for (int k = 0; k < 8; ++k) {
      const auto nibbles = load<std::uint32_t>(low + 4 * k) >> (quarter / 2 * 4);
      const auto pairs = load<std::uint32_t>(high + 4 * k) >> (quarter * 2);
      out[k] = (nibbles & kLowNibbles) | ((pairs & 0x03030303u) << 4);
    }
  }

  void scales(int first_group, int, std::uint8_t* header, int row) const {
    const std::uint8_t* block = row_ + first_group / 8 * kBlockBytes;
    const float d = half_to_float(load<std::uint16_t>(block + 208));
    std::memcpy(header + 4 * row, &d, sizeof d);
    for (int s = 0; s < 16; ++s) header[64 + 16 * s + row] = block[192 + s];
  }

 private:
  static constexpr int kBlockBytes = 210;
  const std::uint8_t* row_;
};

// MLX affine: a bit stream of codes, one scale and bias for a whole block.
template <int kCodeBitsOfTile>
class AffineSource {
 public:
  static constexpr int kCodeBits = kCodeBitsOfTile;

  AffineSource(const Tensor& tensor, std::int64_t row)
      : bits_(tensor.quantization.bits), encoding_(tensor.quantization.scale_encoding) {
    const std::int64_t blocks = tensor.columns / tensor.quantization.group_size;
    const std::int64_t scale_bytes = encoding_ == Encoding::f32 ? 4 : 2;
    row_ = bytes(tensor.data) + row * (tensor.columns / 8 * bits_);
    scales_ = bytes(tensor.scales) + row * blocks * scale_bytes;
    biases_ = bytes(tensor.biases) + row * blocks * scale_bytes;
  }

  void codes(int group, GroupCodes& out) const {
    std::uint8_t padded[kGroupColumns + 8] = {};  // so that 8 bytes may be read at any code
    std::memcpy(padded, row_ + static_cast<std::ptrdiff_t>(group) * 4 * bits_,
                static_cast<std::size_t>(4 * bits_));
    const std::uint32_t mask = (1u << bits_) - 1;
    for (int k = 0; k < 8; ++k) {
      const int first_bit = 4 * k * bits_;
      const std::uint64_t stream = load<std::uint64_t>(padded + first_bit / 8) >> (first_bit % 8);
      std::uint32_t word = 0;
      for (int c = 0; c < 4; ++c) {
        word |= (static_cast<std::uint32_t>(stream >> (c * bits_)) & mask) << (8 * c);
      }
      out[k] = word;
    }
  }

  void scales(int first_group, int count, std::uint8_t* header, int row) const {
    const int block = first_group / count;
    put_scale(header + 2 * row, scales_, block);
    put_scale(header + 32 + 2 * row, biases_, block);
  }

 private:
  static const std::uint8_t* bytes(std::span<const std::byte> data) {
    return reinterpret_cast<const std::uint8_t*>(data.data());
  }

  void put_scale(std::uint8_t* to, const std::uint8_t* from, int index) const {
    if (encoding_ != Encoding::f32) return put_u16(to, from + 2 * index);
    const std::uint16_t half = float_to_half(load<float>(from + 4 * index));
    std::memcpy(to, &half, sizeof half);
  }

  int bits_;
  Encoding encoding_;
  const std::uint8_t *row_, *scales_, *biases_;
};

// The formats of integers out of a table (model/coded_blocks.h), a row of them decoded at once.
template <int kBits>
class CodedSource {
 public:
  static constexpr int kCodeBits = kBits;

  CodedSource(const Tensor& tensor, const TileLayout& layout, std::int64_t row)
      : layout_(layout), runs_(static_cast<std::size_t>(tensor.columns / kRunColumns)) {
    read_code_runs(tensor, row, runs_);
  }

  void codes(int group, GroupCodes& out) const {
    std::memcpy(out, run(group, 0).codes.data(), kRunColumns);
    std::memcpy(out + 4, run(group, 1).codes.data(), kRunColumns);
  }

  // A block of a tile is one of the file where scales have two levels: one factor serves all.
  void scales(int first_group, int count, std::uint8_t* header, int row) const {
    const CodeRun& first = run(first_group, 0);
    const ScaleKind kind = layout_.scale_kind;
    if (kind == ScaleKind::k_scale || kind == ScaleKind::k_half_scale) {
      std::memcpy(header + 4 * row, &first.factor, sizeof first.factor);
    } else if (kind == ScaleKind::k_half_scale_and_min) {
      put_half(header + 2 * row, first.factor);
      put_half(header + 32 + 2 * row, first.minimum_factor);
    }
    for (int g = 0; g < count; ++g) put_group(header, g, first_group + g, row);
  }

 private:
  const CodeRun& run(int group, int half) const {
    return runs_[static_cast<std::size_t>(2 * group + half)];
  }

  void put_group(std::uint8_t* header, int g, int group, int row) const {
    const CodeRun &low = run(group, 0), &high = run(group, 1);
    std::uint8_t* levels = header + 64 + row;
    switch (layout_.scale_kind) {
      case ScaleKind::scale:
        return put_half(header + 32 * (g >> layout_.scale_shift) + 2 * row, low.scale);
      case ScaleKind::k_scale:
        levels[16 * g] = low_byte(low.level);
        return;
      case ScaleKind::k_half_scale:
        levels[32 * g] = low_byte(low.level);
        levels[32 * g + 16] = low_byte(high.level);
        return;
      case ScaleKind::k_half_scale_and_min:
        levels[32 * g] = low_byte(low.level | low.minimum_level << 4);
        levels[32 * g + 16] = low_byte(high.level | high.minimum_level << 4);
        return;
      case ScaleKind::exponent:
        // The greatest would be infinite to the kernels, as its weights all but are.
        header[16 * g + row] = low_byte(low.level < 255 ? low.level : 254);
        return;
      case ScaleKind::half_e4m3:
        header[32 * g + row] = low_byte(low.level);
        header[32 * g + 16 + row] = low_byte(high.level);
        return;
      case ScaleKind::scale_and_min:
      case ScaleKind::k_scale_and_min:
        check(false, "no format with a code table has these scales");
    }
  }

  static std::uint8_t low_byte(int level) { return static_cast<std::uint8_t>(level & 255); }
  static void put_half(std::uint8_t* to, float value) {  // exact: it was a half in the file
    const std::uint16_t half = float_to_half(value);
    std::memcpy(to, &half, sizeof half);
  }

  const TileLayout& layout_;
  std::vector<CodeRun> runs_;
};

}  // namespace
}  // namespace mlxd::cpu
