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
//   6 bits: as 4, then two planes; bits 2(k % 4) and up of plane k / 4 are bits 4 and 5 of step k;
//   2 bits: the last two planes of 6 bits alone;
//   3 bits: as 2, then a plane whose bit k is bit 2 of step k;
//   1 bit:  a plane whose bit k is that of step k.
// Unquantised matrices are [columns][16 rows] in their own float format.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "backend/cpu/kernels.h"

namespace mlxd::cpu {

// What the codes of a matrix are: numbers themselves (less the zero point), or indices into a table
// of 8-bit numbers that kernels keep in a register.
enum class Codes {
  none,   // plain floats
  bits1,  // 0 or 2, for -1 and 1
  bits2,
  bits3,
  bits4,
  bits5,
  bits6,
  bits8,
  table3,
  table4,
  small_table4,  // of numbers from -15 to 15, whose products need fewer bits
};

constexpr int code_bits(Codes codes) {
  switch (codes) {
    case Codes::none:
      return 0;
    case Codes::bits1:
      return 1;
    case Codes::bits2:
      return 2;
    case Codes::bits3:
    case Codes::table3:
      return 3;
    case Codes::bits5:
      return 5;
    case Codes::bits6:
      return 6;
    case Codes::bits8:
      return 8;
    default:
      return 4;
  }
}

constexpr bool has_table(Codes codes) { return codes >= Codes::table3; }

// What a header holds, and the weight that a code stands for. zero = zero_point(codes, kind); of
// codes with a table, (code - zero) is the number in the table.
enum class ScaleKind {
  scale,            // f16 scale[2][16], each for 1 << scale_shift groups: (code - zero) * scale
  scale_and_min,    // f16 or bf16 scale[16], min[16]; one per block: (code - zero) * scale + min'
                    // with min' = min + zero * scale, that is code * scale + min
  k_scale,          // f32 d[16]; i8 scale[8][16]: (code - zero) * (d * scale), one per group
  k_scale_and_min,  // f16 d[16], dmin[16]; u8 scale[8][16], min[8][16]: code * (d * scale)
                    // - dmin * min, one scale and min per group
  k_half_scale,     // f32 d[16]; i8 scale[8][2][16]: (code - zero) * (d * scale), one scale per
                    // half group
  k_half_scale_and_min,  // f16 d[16], dmin[16]; u8 pair[8][2][16], scale in the low nibble and min
                         // in the high one: code * (d * scale) - dmin * min, one per half group
  exponent,              // u8 e[4][16], one per group: (code - zero) * 2^(e - 128)
  half_e4m3,             // u8 scale[2][2][16], E4M3 without sign, one per half group:
                         // (code - zero) * scale / 2 * tensor_scale
};

// Scales of halves of a group: a dot product for each half.
constexpr bool has_halves(ScaleKind kind) {
  return kind == ScaleKind::k_half_scale || kind == ScaleKind::k_half_scale_and_min ||
         kind == ScaleKind::half_e4m3;
}

// The code that stands for 0 where there is one, else any value that keeps (code - zero) small
// enough for every instruction set (AVX2 has no exact product of two 8-bit unsigned factors). With
// a table, what is added to its numbers to make them unsigned.
constexpr int zero_point(Codes codes, ScaleKind kind) {
  if (codes == Codes::small_table4) return 16;
  if (codes == Codes::bits8 || has_table(codes)) return 128;
  if (codes == Codes::bits1) return 1;
  if (codes == Codes::bits2) return kind == ScaleKind::scale ? 1 : 0;
  const bool centred = kind == ScaleKind::scale || kind == ScaleKind::k_half_scale;
  return centred ? 1 << (code_bits(codes) - 1) : 0;
}

// What a dot product starts from (InputGroup::bias) is this times the sum of the quantised; -1
// where the bias holds these sums as floats, for the minima of halves.
constexpr int bias_zero(Codes codes, ScaleKind kind) {
  return kind == ScaleKind::k_half_scale_and_min ? -1 : zero_point(codes, kind);
}

constexpr int header_bytes(ScaleKind kind) {
  switch (kind) {
    case ScaleKind::k_scale:
      return 64 + 8 * kTileRows;
    case ScaleKind::k_scale_and_min:
    case ScaleKind::k_half_scale:
    case ScaleKind::k_half_scale_and_min:
      return 64 + 8 * 2 * kTileRows;
    default:
      return 64;
  }
}

constexpr int group_bytes(Codes codes) { return code_bits(codes) * kTileRows * kGroupColumns / 8; }

// How the tiles of one matrix are laid out.
struct TileLayout {
  Encoding floats = Encoding::f32;  // Codes::none: the format of the values themselves
  Codes codes = Codes::none;
  ScaleKind scale_kind = ScaleKind::scale;
  bool bfloat16_scales = false;  // scale_and_min only: else f16
  int groups_per_block = 1;
  int scale_shift = 0;     // ScaleKind::scale only: 1 << scale_shift groups share a scale
  float tensor_scale = 1;  // half_e4m3 only: of the whole matrix
  int groups = 0;          // of a row: columns / 32
  alignas(16) std::array<std::int8_t, 16> table{};  // has_table(codes): what each code stands for

  std::size_t block_bytes() const {
    return static_cast<std::size_t>(header_bytes(scale_kind)) +
           static_cast<std::size_t>(groups_per_block) *
               static_cast<std::size_t>(group_bytes(codes));
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
