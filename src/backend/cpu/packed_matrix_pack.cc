// Repacking: one loop over the sources of pack_sources.h that places their codes in the tiles.
#include <bit>
#include <cstring>
#include <vector>

#include "backend/cpu/pack_sources.h"
#include "backend/cpu/packed_matrix.h"
#include "model/coded_blocks.h"

namespace mlxd::cpu {
namespace {

static_assert(std::endian::native == std::endian::little, "files and tiles are little-endian");

// Places one row's codes into a group; packed_matrix.h describes the planes.
template <int kBits>
void place_codes(const GroupCodes& codes, std::uint8_t* group, int row) {
  const auto put = [&](int plane, std::uint32_t word) {
    std::memcpy(group + 64 * plane + 4 * row, &word, sizeof word);
  };
  // Bits `shift` and up of all steps, in two planes of pairs or in one of single bits.
  const auto put_pairs = [&](int first_plane, int shift) {
    for (int half = 0; half < 2; ++half) {
      std::uint32_t plane = 0;
      for (int k = 0; k < 4; ++k) {
        plane |= ((codes[4 * half + k] >> shift) & 0x03030303u) << (2 * k);
      }
      put(first_plane + half, plane);
    }
  };
  const auto put_bits = [&](int at, int shift) {
    std::uint32_t plane = 0;
    for (int k = 0; k < 8; ++k) plane |= ((codes[k] >> shift) & 0x01010101u) << k;
    put(at, plane);
  };
  if constexpr (kBits == 8) {
    for (int k = 0; k < 8; ++k) put(k, codes[k]);
  } else if constexpr (kBits == 1) {
    put_bits(0, 0);
  } else if constexpr (kBits < 4) {
    put_pairs(0, 0);
    if constexpr (kBits == 3) put_bits(2, 2);
  } else {
    for (int i = 0; i < 4; ++i) {
      put(i, (codes[2 * i] & kLowNibbles) | (codes[2 * i + 1] & kLowNibbles) << 4);
    }
    if constexpr (kBits == 5) put_bits(4, 4);
    if constexpr (kBits == 6) put_pairs(4, 4);
  }
}

template <class Source>
void pack_row(const Source& source, const TileLayout& layout, std::uint8_t* tile, int row) {
  const int header_size = header_bytes(layout.scale_kind);
  const int per_block = layout.groups_per_block;
  for (int first = 0; first < layout.groups; first += per_block, tile += layout.block_bytes()) {
    const int count = layout.groups - first < per_block ? layout.groups - first : per_block;
    source.scales(first, count, tile, row);
    for (int g = 0; g < count; ++g) {
      GroupCodes codes;
      source.codes(first + g, codes);
      constexpr int kBits = Source::kCodeBits;
      place_codes<kBits>(codes, tile + header_size + g * group_bytes(layout.codes), row);
    }
  }
}

// A row of plain floats of `Word` size.
template <class Word>
void pack_float_row(const Tensor& tensor, std::int64_t row, std::uint8_t* tile, int tile_row) {
  const auto* from = reinterpret_cast<const std::uint8_t*>(tensor.data.data()) +
                     static_cast<std::size_t>(row * tensor.columns) * sizeof(Word);
  std::uint8_t* to = tile + tile_row * sizeof(Word);
  for (std::int64_t c = 0; c < tensor.columns; ++c) {
    std::memcpy(to + static_cast<std::size_t>(c) * kTileRows * sizeof(Word),
                from + static_cast<std::size_t>(c) * sizeof(Word), sizeof(Word));
  }
}

// MXFP8 as the 16-bit floats that hold its numbers exactly (all but those below 2^-133).
void pack_mxfp8_row(const Tensor& tensor, const TileLayout&, std::int64_t row, std::uint8_t* tile,
                    int tile_row) {
  std::vector<float> values(static_cast<std::size_t>(tensor.columns));
  dequantize_rows(tensor, row, 1, values);
  std::uint8_t* to = tile + 2 * tile_row;
  for (const float value : values) {
    const auto high = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
    std::memcpy(to, &high, sizeof high);
    to += 2 * kTileRows;
  }
}

using RowPacker = void (*)(const Tensor&, const TileLayout&, std::int64_t row, std::uint8_t* tile,
                           int tile_row);

template <class Source>
void pack_one(const Tensor& tensor, const TileLayout& layout, std::int64_t row, std::uint8_t* tile,
              int tile_row) {
  pack_row(Source(tensor, row), layout, tile, tile_row);
}

template <int kBits>
void pack_one_coded(const Tensor& tensor, const TileLayout& layout, std::int64_t row,
                    std::uint8_t* tile, int tile_row) {
  pack_row(CodedSource<kBits>(tensor, layout, row), layout, tile, tile_row);
}

template <class Word>
void pack_one_float(const Tensor& tensor, const TileLayout&, std::int64_t row, std::uint8_t* tile,
                    int tile_row) {
  pack_float_row<Word>(tensor, row, tile, tile_row);
}

RowPacker affine_packer(int bits) {
  switch (bits) {
    case 8:
      return pack_one<AffineSource<8>>;
    case 6:
      return pack_one<AffineSource<6>>;
    case 5:
      return pack_one<AffineSource<5>>;
    default:
      return pack_one<AffineSource<4>>;
  }
}

RowPacker coded_packer(const CodeTable& table) {
  switch (table.bits) {
    case 1:
      return pack_one_coded<1>;
    case 2:
      return pack_one_coded<2>;
    case 3:
      return pack_one_coded<3>;
    default:
      return pack_one_coded<4>;
  }
}

RowPacker packer_for(const Quantization& quantization) {
  switch (quantization.encoding) {
    case Encoding::f32:
      return pack_one_float<std::uint32_t>;
    case Encoding::f16:
    case Encoding::bf16:
      return pack_one_float<std::uint16_t>;
    case Encoding::q4_0:
      return pack_one<LegacySource<4, false>>;
    case Encoding::q4_1:
      return pack_one<LegacySource<4, true>>;
    case Encoding::q5_0:
      return pack_one<LegacySource<5, false>>;
    case Encoding::q5_1:
      return pack_one<LegacySource<5, true>>;
    case Encoding::q8_0:
      return pack_one<LegacySource<8, false>>;
    case Encoding::q4_k:
      return pack_one<KSource<4>>;
    case Encoding::q5_k:
      return pack_one<KSource<5>>;
    case Encoding::q6_k:
      return pack_one<Q6Source>;
    case Encoding::mlx_affine:
      return affine_packer(quantization.bits);
    case Encoding::mlx_mxfp8:
      return pack_mxfp8_row;
    default:
      return coded_packer(*code_table(quantization.encoding));
  }
}

}  // namespace

void pack_tiles(PackedMatrix& matrix, const Tensor& tensor, int first_tile, int end_tile) {
  auto& packed = static_cast<PackedTiles&>(matrix);
  const RowPacker pack_row_of = packer_for(tensor.quantization);
  for (int t = first_tile; t < end_tile; ++t) {
    for (int r = 0; r < kTileRows && t * kTileRows + r < matrix.rows(); ++r) {
      pack_row_of(tensor, packed.layout(), static_cast<std::int64_t>(t) * kTileRows + r,
                  packed.tile(t), r);
    }
  }
}

}  // namespace mlxd::cpu
