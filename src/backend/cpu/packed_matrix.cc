#include "backend/cpu/packed_matrix.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>

#include <fmt/format.h>

#include "backend/cpu/huge_pages.h"
#include "base/check.h"
#include "base/error.h"
#include "model/coded_blocks.h"

namespace mlxd::cpu {
namespace {

constexpr int kStepColumns = 4;

TileLayout quantized_layout(Codes codes, ScaleKind kind, int groups_per_block) {
  TileLayout layout;
  layout.codes = codes;
  layout.scale_kind = kind;
  layout.groups_per_block = groups_per_block;
  return layout;
}

// f16 scales, each for 1 << scale_shift groups.
TileLayout scaled_layout(Codes codes, int scale_shift = 0) {
  TileLayout layout = quantized_layout(codes, ScaleKind::scale, 2 << scale_shift);
  layout.scale_shift = scale_shift;
  return layout;
}

TileLayout table_layout(Encoding encoding, Codes codes, ScaleKind kind, int groups_per_block) {
  TileLayout layout = quantized_layout(codes, kind, groups_per_block);
  layout.table = code_table(encoding)->values;
  return layout;
}

TileLayout affine_layout(const Quantization& quantization) {
  const auto codes = [&] {
    switch (quantization.bits) {
      case 5:
        return Codes::bits5;
      case 6:
        return Codes::bits6;
      case 8:
        return Codes::bits8;
      default:
        return Codes::bits4;  // 2 and 3 bits too: a rarer format is worth no kernel of its own
    }
  }();
  TileLayout layout =
      quantized_layout(codes, ScaleKind::scale_and_min, quantization.group_size / kGroupColumns);
  layout.bfloat16_scales = quantization.scale_encoding == Encoding::bf16;
  return layout;
}

TileLayout float_layout(Encoding encoding) {
  TileLayout layout;
  layout.floats = encoding;
  return layout;
}

bool known_affine(const Quantization& quantization) {
  const int bits = quantization.bits, group = quantization.group_size;
  return bits >= 2 && bits <= 8 && bits != 7 && (group == 32 || group == 64 || group == 128);
}

TileLayout layout_of(const Quantization& quantization) {
  const Encoding encoding = quantization.encoding;
  switch (encoding) {
    case Encoding::f32:
    case Encoding::f16:
    case Encoding::bf16:
      return float_layout(encoding);
    case Encoding::mlx_mxfp8:  // which 16 bits hold exactly
      return float_layout(Encoding::bf16);
    case Encoding::q4_0:
      return scaled_layout(Codes::bits4);
    case Encoding::q4_1:
      return quantized_layout(Codes::bits4, ScaleKind::scale_and_min, 1);
    case Encoding::q5_0:
      return scaled_layout(Codes::bits5);
    case Encoding::q5_1:
      return quantized_layout(Codes::bits5, ScaleKind::scale_and_min, 1);
    case Encoding::q8_0:
      return scaled_layout(Codes::bits8);
    case Encoding::q2_k:
      return quantized_layout(Codes::bits2, ScaleKind::k_half_scale_and_min, 8);
    case Encoding::q3_k:
      return quantized_layout(Codes::bits3, ScaleKind::k_half_scale, 8);
    case Encoding::q4_k:
      return quantized_layout(Codes::bits4, ScaleKind::k_scale_and_min, 8);
    case Encoding::q5_k:
      return quantized_layout(Codes::bits5, ScaleKind::k_scale_and_min, 8);
    case Encoding::q6_k:
      return quantized_layout(Codes::bits6, ScaleKind::k_half_scale, 8);
    case Encoding::iq4_nl: {
      TileLayout layout = scaled_layout(Codes::table4);
      layout.table = code_table(encoding)->values;
      return layout;
    }
    case Encoding::iq4_xs:
    case Encoding::iq3_xxs:
      return table_layout(encoding, Codes::table4, ScaleKind::k_scale, 8);
    case Encoding::iq3_s:
      return table_layout(encoding, Codes::small_table4, ScaleKind::k_scale, 8);
    case Encoding::iq2_xxs:
    case Encoding::iq1_s:
      return table_layout(encoding, Codes::table3, ScaleKind::k_scale, 8);
    case Encoding::iq2_xs:
    case Encoding::iq2_s:
    case Encoding::iq1_m:
      return table_layout(encoding, Codes::table3, ScaleKind::k_half_scale, 8);
    case Encoding::tq1_0:
    case Encoding::tq2_0:
      return scaled_layout(Codes::bits2, 3);
    case Encoding::q1_0:
      return scaled_layout(Codes::bits1, 2);
    case Encoding::q2_0:
      return scaled_layout(Codes::bits2, 1);
    case Encoding::mxfp4:
    case Encoding::mlx_mxfp4:
      return table_layout(encoding, Codes::small_table4, ScaleKind::exponent, 4);
    case Encoding::nvfp4:
    case Encoding::mlx_nvfp4:
      return table_layout(encoding, Codes::small_table4, ScaleKind::half_e4m3, 2);
    case Encoding::mlx_affine:
      return affine_layout(quantization);
  }
  check(false, "a tensor has one of the known encodings");
  return {};
}

std::size_t float_bytes(Encoding encoding) { return encoding == Encoding::f32 ? 4 : 2; }

std::uint16_t load_u16(const std::uint8_t* from) {
  std::uint16_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

float load_f32(const std::uint8_t* from) {
  float value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

float load_float(const std::uint8_t* from, Encoding encoding) {
  if (encoding == Encoding::f32) return load_f32(from);
  return encoding == Encoding::f16 ? half_to_float(load_u16(from))
                                   : bfloat16_to_float(load_u16(from));
}

// The code of column `column` (0..31) of tile row `row`.
int code_at(const std::uint8_t* group, int bits, int row, int column) {
  const int step = column / kStepColumns;
  const int byte = row * kStepColumns + column % kStepColumns;
  if (bits == 8) return group[64 * step + byte];
  const auto pair_at = [&](const std::uint8_t* planes) {
    return (planes[64 * (step / 4) + byte] >> (step % 4 * 2)) & 3;
  };
  const auto bit_at = [&](const std::uint8_t* plane) { return (plane[byte] >> step) & 1; };
  if (bits == 1) return bit_at(group) * 2;
  if (bits == 2) return pair_at(group);
  if (bits == 3) return pair_at(group) | bit_at(group + 128) << 2;
  const int nibble = (group[64 * (step / 2) + byte] >> (step % 2 * 4)) & 15;
  if (bits == 5) return nibble | bit_at(group + 256) << 4;
  if (bits == 6) return nibble | pair_at(group + 256) << 4;
  return nibble;
}

struct ScaleAndMin {
  float scale;
  float min;
};

// What a number of half `half` of group `group` of the block stands for: scale * number + min,
// where the number is the code less the zero point, or for scale_and_min the code itself.
ScaleAndMin scale_at(const std::uint8_t* header, const TileLayout& layout, int row, int group,
                     int half) {
  const Encoding encoding = layout.bfloat16_scales ? Encoding::bf16 : Encoding::f16;
  const std::uint8_t* levels = header + 64;
  const std::uint8_t* half_levels = levels + 32 * group + 16 * half;
  const auto half_at = [&](int offset) {
    return load_float(header + offset + 2 * row, Encoding::f16);
  };
  switch (layout.scale_kind) {
    case ScaleKind::scale:
      return {half_at(32 * (group >> layout.scale_shift)), 0};
    case ScaleKind::scale_and_min:
      return {load_float(header + 2 * row, encoding), load_float(header + 32 + 2 * row, encoding)};
    case ScaleKind::k_scale: {
      const auto level = static_cast<std::int8_t>(levels[16 * group + row]);
      return {load_f32(header + 4 * row) * static_cast<float>(level), 0};
    }
    case ScaleKind::k_scale_and_min:
      return {half_at(0) * static_cast<float>(levels[16 * group + row]),
              -(half_at(32) * static_cast<float>(levels[128 + 16 * group + row]))};
    case ScaleKind::k_half_scale: {
      const auto level = static_cast<std::int8_t>(half_levels[row]);
      return {load_f32(header + 4 * row) * static_cast<float>(level), 0};
    }
    case ScaleKind::k_half_scale_and_min:
      return {half_at(0) * static_cast<float>(half_levels[row] & 15),
              -(half_at(32) * static_cast<float>(half_levels[row] >> 4))};
    case ScaleKind::exponent:
      return {half_of_e8m0(header[16 * group + row]), 0};
    case ScaleKind::half_e4m3:
      return {half_of_e4m3(header[32 * group + 16 * half + row]) * layout.tensor_scale, 0};
  }
  return {};
}

void decode_floats(const PackedTiles& matrix, int row, float* out) {
  const Encoding encoding = matrix.layout().floats;
  const std::size_t size = float_bytes(encoding);
  const std::uint8_t* from = matrix.tile(row / kTileRows) + row % kTileRows * size;
  for (int c = 0; c < matrix.columns(); ++c, from += size * kTileRows) {
    out[c] = load_float(from, encoding);
  }
}

void decode_group(const std::uint8_t* header, const TileLayout& layout, int group_in_block,
                  int tile_row, float* out) {
  constexpr int kHalf = kGroupColumns / 2;
  const int bits = code_bits(layout.codes);
  const int zero = layout.scale_kind == ScaleKind::scale_and_min
                       ? 0
                       : zero_point(layout.codes, layout.scale_kind);
  const std::uint8_t* codes =
      header + header_bytes(layout.scale_kind) + group_in_block * group_bytes(layout.codes);
  for (int half = 0; half < 2; ++half) {
    const auto [scale, min] = scale_at(header, layout, tile_row, group_in_block, half);
    for (int c = half * kHalf; c < (half + 1) * kHalf; ++c) {
      const int code = code_at(codes, bits, tile_row, c);
      const int number =
          has_table(layout.codes) ? layout.table[static_cast<std::size_t>(code)] : code - zero;
      out[c] = scale * static_cast<float>(number) + min;
    }
  }
}

}  // namespace

// By what a dot product starts from (InputGroup::bias).
int input_kind_of(const TileLayout& layout) {
  struct Start {
    int zero;
    bool halves;
  };
  static constexpr Start kStarts[kInputKinds - 1] = {
      {0, false}, {1, false}, {8, false}, {16, false}, {128, false},
      {4, true},  {16, true}, {32, true}, {128, true}, {-1, true},
  };
  if (layout.codes == Codes::none) return 0;
  const int zero = bias_zero(layout.codes, layout.scale_kind);
  const bool halves = has_halves(layout.scale_kind);
  const auto* const found = std::ranges::find_if(
      kStarts, [&](const Start& start) { return start.zero == zero && start.halves == halves; });
  check(found != std::end(kStarts), "every layout has a kind of input");
  return 1 + static_cast<int>(found - kStarts);
}

std::size_t TileLayout::tile_bytes() const {
  if (codes == Codes::none) {
    return float_bytes(floats) * static_cast<std::size_t>(groups) * kGroupColumns * kTileRows;
  }
  return static_cast<std::size_t>(blocks()) * block_bytes();
}

std::size_t packed_bytes(const TileLayout& layout, int rows) {
  return layout.tile_bytes() * static_cast<std::size_t>((rows + kTileRows - 1) / kTileRows);
}

TileLayout choose_layout(const Tensor& tensor) {
  constexpr std::int64_t kMost = std::numeric_limits<int>::max() / 2;
  const Quantization& quantization = tensor.quantization;
  if (quantization.encoding == Encoding::mlx_affine && !known_affine(quantization)) {
    throw LoadError(fmt::format("tensor {} is {}, which the cpu backend does not know", tensor.name,
                                to_string(quantization)));
  }
  const int unit = std::max(kGroupColumns, block_columns(quantization));
  if (tensor.columns <= 0 || tensor.columns % unit != 0) {
    throw LoadError(
        fmt::format("the cpu backend needs {} matrices with a multiple of {} columns, "
                    "but tensor {} has {}",
                    to_string(quantization), unit, tensor.name, tensor.columns));
  }
  if (tensor.rows <= 0 || tensor.rows > kMost || tensor.columns > kMost) {
    throw LoadError(fmt::format("tensor {} of {} x {} is no matrix that the cpu backend can hold",
                                tensor.name, tensor.rows, tensor.columns));
  }
  TileLayout layout = layout_of(tensor.quantization);
  layout.groups = static_cast<int>(tensor.columns / kGroupColumns);
  layout.tensor_scale = tensor.scale;
  return layout;
}

PackedTiles::PackedTiles(int rows, int columns, const TileLayout& layout) : layout_(layout) {
  rows_ = rows;
  columns_ = columns;
  input_kind_ = input_kind_of(layout);
  bytes_ = packed_bytes(layout, rows);
  memory_ = allocate_huge(bytes_);
}

std::unique_ptr<PackedMatrix> allocate_packed(const Tensor& tensor) {
  const TileLayout layout = choose_layout(tensor);
  return std::make_unique<PackedTiles>(static_cast<int>(tensor.rows),
                                       static_cast<int>(tensor.columns), layout);
}

std::unique_ptr<PackedMatrix> pack(const Tensor& tensor) {
  std::unique_ptr<PackedMatrix> matrix = allocate_packed(tensor);
  pack_tiles(*matrix, tensor, 0, matrix->tiles());
  return matrix;
}

void decode_row(const PackedMatrix& matrix, int row, float* out) {
  const auto& packed = static_cast<const PackedTiles&>(matrix);
  const TileLayout& layout = packed.layout();
  if (layout.codes == Codes::none) return decode_floats(packed, row, out);
  const std::uint8_t* tile = packed.tile(row / kTileRows);
  for (int g = 0; g < layout.groups; ++g, out += kGroupColumns) {
    const std::uint8_t* header = tile + g / layout.groups_per_block * layout.block_bytes();
    decode_group(header, layout, g % layout.groups_per_block, row % kTileRows, out);
  }
}

}  // namespace mlxd::cpu
