// The layout behind PackedMatrix, the same for every instruction set. A tile holds 16 rows as a
// sequence of blocks; a block is a header of scales and the codes of a few groups of 32 columns:
//
//   tile  = block, block, ...                        (a last block may hold unused groups)
//   block = header (scales of all its groups), codes of group 0, codes of group 1, ...
//
// Codes are unsigned; column 4k + c of row r is byte 4r + c of step k, so that one dot-product
// instruction advances all 16 rows by four columns. A group has 8 steps of 64 bytes:
//   8 bits: byte plane k is step k;
//   4 bits: byte plane i holds step 2i in its low nibbles and step 2i + 1 in its high nibbles;
//   5 bits: as 4, then a plane whose bit k is bit 4 of step k;
//   6 bits: as 4, then two planes; bits 2(k % 4) and up of plane k / 4 are bits 4 and 5 of step k.
// Unquantised matrices are [columns][16 rows] in their own float format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backend/cpu/kernels.h"

namespace mlxd::cpu {

// What a header holds, and the weight that a code stands for. zero = zero_point(bits, kind).
enum class ScaleKind {
  scale,            // f16 scale[2][16]; one per group: (code - zero) * scale
  scale_and_min,    // f16 or bf16 scale[16], min[16]; one per block: (code - zero) * scale + min'
                    // with min' = min + zero * scale, that is code * scale + min
  k_scale_and_min,  // f16 d[16], dmin[16]; u8 scale[8][16], min[8][16]: code * (d * scale)
                    // - dmin * min, one scale and min per group
  k_half_scale,     // f32 d[16]; i8 scale[8][2][16]: (code - zero) * (d * scale), one scale per
                    // half group
};

// The code that stands for 0 where there is one, else any value that keeps (code - zero) small
// enough for every instruction set (AVX2 has no exact product of two 8-bit unsigned factors).
constexpr int zero_point(int bits, ScaleKind kind) {
  const bool centred = bits == 8 || kind == ScaleKind::scale || kind == ScaleKind::k_half_scale;
  return centred ? 1 << (bits - 1) : 0;
}

constexpr int header_bytes(ScaleKind kind) {
  const bool two_levels = kind == ScaleKind::k_scale_and_min || kind == ScaleKind::k_half_scale;
  return two_levels ? 64 + 8 * 2 * kTileRows : 64;
}

constexpr int group_bytes(int bits) { return bits * kTileRows * kGroupColumns / 8; }

// How the tiles of one matrix are laid out.
struct TileLayout {
  Encoding floats = Encoding::f32;  // code_bits == 0: the format of the values themselves
  int code_bits = 0;                // 4, 5, 6 or 8; 0: not quantised
  ScaleKind scale_kind = ScaleKind::scale;
  bool bfloat16_scales = false;  // scale_and_min only: else f16
  int groups_per_block = 1;
  int groups = 0;  // of a row: columns / 32

  std::size_t block_bytes() const {
    return header_bytes(scale_kind) +
           static_cast<std::size_t>(groups_per_block) * group_bytes(code_bits);
  }
  int blocks() const { return (groups + groups_per_block - 1) / groups_per_block; }
  std::size_t tile_bytes() const;
};

// Bytes of a matrix of that many rows; of the last tile, all.
std::size_t packed_bytes(const TileLayout& layout, int rows);

// The kind of prepared input that its products read (PackedMatrix::input_kind).
int input_kind_of(const TileLayout& layout);

// The layout for a tensor. Throws LoadError where the kernels cannot run it.
TileLayout choose_layout(const Tensor& tensor);

class PackedTiles final : public PackedMatrix {
 public:
  PackedTiles(int rows, int columns, const TileLayout& layout);

  const TileLayout& layout() const { return layout_; }
  std::uint8_t* tile(int index) { return memory_.get() + index * layout_.tile_bytes(); }
  const std::uint8_t* tile(int index) const { return memory_.get() + index * layout_.tile_bytes(); }
  std::span<const std::byte> tile_bytes(int index) const override {
    return {reinterpret_cast<const std::byte*>(tile(index)), layout_.tile_bytes()};
  }

 private:
  TileLayout layout_;
  std::shared_ptr<std::uint8_t> memory_;  // zeroed when new, 64-byte aligned
};

// The functions that every Kernels shares; kernels.h says what they do.
std::unique_ptr<PackedMatrix> allocate_packed(const Tensor& tensor);
void pack_tiles(PackedMatrix& matrix, const Tensor& tensor, int first_tile, int end_tile);
std::unique_ptr<PackedMatrix> pack(const Tensor& tensor);
void decode_row(const PackedMatrix& matrix, int row, float* out);

}  // namespace mlxd::cpu
