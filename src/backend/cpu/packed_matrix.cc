#include "backend/cpu/packed_matrix.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include <fmt/format.h>

#include "backend/cpu/huge_pages.h"
#include "base/check.h"
#include "base/error.h"

namespace mlxd::cpu {
namespace {

constexpr int kStepColumns = 4;

TileLayout quantized_layout(int bits, ScaleKind kind, int groups_per_block) {
  TileLayout layout;
  layout.code_bits = bits;
  layout.scale_kind = kind;
  layout.groups_per_block = groups_per_block;
  return layout;
}

TileLayout affine_layout(const Quantization& quantization) {
  // 2 and 3 bits go into nibbles: a rarer format is worth no kernel of its own.
  const int bits = quantization.bits < 4 ? 4 : quantization.bits;
  TileLayout layout =
      quantized_layout(bits, ScaleKind::scale_and_min, quantization.group_size / kGroupColumns);
  layout.bfloat16_scales = quantization.scale_encoding == Encoding::bf16;
  return layout;
}

bool known_affine(const Quantization& quantization) {
  const int bits = quantization.bits, group = quantization.group_size;
  return bits >= 2 && bits <= 8 && bits != 7 && (group == 32 || group == 64 || group == 128);
}

TileLayout layout_of(const Quantization& quantization) {
  switch (quantization.encoding) {
    case Encoding::f32:
    case Encoding::f16:
    case Encoding::bf16: {
      TileLayout layout;
      layout.floats = quantization.encoding;
      return layout;
    }
    case Encoding::q4_0:
      return quantized_layout(4, ScaleKind::scale, 2);
    case Encoding::q4_1:
      return quantized_layout(4, ScaleKind::scale_and_min, 1);
    case Encoding::q5_0:
      return quantized_layout(5, ScaleKind::scale, 2);
    case Encoding::q5_1:
      return quantized_layout(5, ScaleKind::scale_and_min, 1);
    case Encoding::q8_0:
      return quantized_layout(8, ScaleKind::scale, 2);
    case Encoding::q4_k:
      return quantized_layout(4, ScaleKind::k_scale_and_min, 8);
    case Encoding::q5_k:
      return quantized_layout(5, ScaleKind::k_scale_and_min, 8);
    case Encoding::q6_k:
      return quantized_layout(6, ScaleKind::k_half_scale, 8);
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
  const int nibble = (group[64 * (step / 2) + byte] >> (step % 2 * 4)) & 15;
  const std::uint8_t* planes = group + 256;
  if (bits == 5) return nibble | ((planes[byte] >> step) & 1) << 4;
  if (bits == 6) return nibble | ((planes[64 * (step / 4) + byte] >> (step % 4 * 2)) & 3) << 4;
  return nibble;
}

struct ScaleAndMin {
  float scale;
  float min;
};

// What a code of half `half` of group `group` of the block stands for: scale * (code - zero) + min
// with the zero point that `zero` receives.
ScaleAndMin scale_at(const std::uint8_t* header, const TileLayout& layout, int row, int group,
                     int half, int& zero) {
  zero = zero_point(layout.code_bits, layout.scale_kind);
  const Encoding encoding = layout.bfloat16_scales ? Encoding::bf16 : Encoding::f16;
  const std::uint8_t* levels = header + 64;
  switch (layout.scale_kind) {
    case ScaleKind::scale:
      return {load_float(header + 32 * group + 2 * row, Encoding::f16), 0};
    case ScaleKind::scale_and_min:
      zero = 0;
      return {load_float(header + 2 * row, encoding), load_float(header + 32 + 2 * row, encoding)};
    case ScaleKind::k_scale_and_min: {
      const float d = load_float(header + 2 * row, Encoding::f16);
      const float dmin = load_float(header + 32 + 2 * row, Encoding::f16);
      return {d * static_cast<float>(levels[16 * group + row]),
              -(dmin * static_cast<float>(levels[128 + 16 * group + row]))};
    }
    case ScaleKind::k_half_scale: {
      const auto level = static_cast<std::int8_t>(levels[32 * group + 16 * half + row]);
      return {load_f32(header + 4 * row) * static_cast<float>(level), 0};
    }
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
  const std::uint8_t* codes =
      header + header_bytes(layout.scale_kind) + group_in_block * group_bytes(layout.code_bits);
  for (int half = 0; half < 2; ++half) {
    int zero;
    const auto [scale, min] = scale_at(header, layout, tile_row, group_in_block, half, zero);
    for (int c = half * kHalf; c < (half + 1) * kHalf; ++c) {
      const int code = code_at(codes, layout.code_bits, tile_row, c) - zero;
      out[c] = scale * static_cast<float>(code) + min;
    }
  }
}

}  // namespace

// By what a dot product starts from (InputGroup::bias).
int input_kind_of(const TileLayout& layout) {
  if (layout.code_bits == 0) return 0;
  if (layout.scale_kind == ScaleKind::k_half_scale) return 1;
  switch (zero_point(layout.code_bits, layout.scale_kind)) {
    case 0:
      return 2;
    case 8:
      return 3;
    case 16:
      return 4;
    default:
      return 5;
  }
}

std::size_t TileLayout::tile_bytes() const {
  if (code_bits == 0) {
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
  if (layout.code_bits == 0) return decode_floats(packed, row, out);
  const std::uint8_t* tile = packed.tile(row / kTileRows);
  for (int g = 0; g < layout.groups; ++g, out += kGroupColumns) {
    const std::uint8_t* header = tile + g / layout.groups_per_block * layout.block_bytes();
    decode_group(header, layout, g % layout.groups_per_block, row % kTileRows, out);
  }
}

}  // namespace mlxd::cpu
