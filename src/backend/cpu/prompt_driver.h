// The loops around a matrix unit, and the expansion of a packed matrix's codes to its tiles. A Unit
// provides, on tiles of 16 rows of 64 bytes:
//   class Session: the unit is ready for this thread while one lives;
//   template <int kRows, int kTiles> static void accumulate(const uint16_t* input, ptrdiff_t
//       block_stride, const uint16_t* weights, ptrdiff_t tile_stride, int groups, const Sums* from,
//       const Sums& to): to = from + products of kRows blocks of rows and kTiles tiles of the
//       matrix over so many groups of 32 columns; `from` null: zero.
// Included by files compiled for AVX-512 alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "backend/cpu/avx512_codes.h"
#include "backend/cpu/packed_matrix.h"
#include "backend/cpu/prompt_kernels.h"

namespace mlxd::cpu {
namespace {

constexpr int kMostTiles = PromptScratch::kTiles;
constexpr int kChunkGroups = PromptScratch::kGroups;
constexpr int kPassBlocks = PromptScratch::kBlocks;
// Columns of a panel of all rows of a pass, in groups, times blocks of rows: 1 MiB of them, which
// stay in a level-2 cache while the matrix's tiles pass by.
constexpr int kPanelGroups = 1024;

// Sums of 16 rows and outputs for some blocks of rows and tiles: where the first begin, and the
// numbers from a row, a block of rows and a tile to the next.
struct Sums {
  float* values;
  std::ptrdiff_t row, block, tile;
};

constexpr std::ptrdiff_t kTileNumbers = kTileRows * kGroupColumns;  // expanded, of a group
constexpr std::ptrdiff_t kSumNumbers = kPromptRows * kTileRows;

// Sixteen floats as bfloat16 in the low half of each lane, to nearest, ties to even.
[[gnu::always_inline]] inline __m512i rounded_bits(__m512 value) {
  const __m512i bits = _mm512_castps_si512(value);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(_mm512_set1_epi32(0x7fff), odd);
  return _mm512_srli_epi32(_mm512_add_epi32(bits, up), 16);
}

// Of two columns the pairs that a tile's row holds: the first in the low half of a lane.
[[gnu::always_inline]] inline __m512i pairs_of(__m512 first, __m512 second) {
#ifdef __AVX512BF16__
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
  return _mm512_permutexvar_epi16(order, both);
#else
  return _mm512_or_si512(rounded_bits(first), _mm512_slli_epi32(rounded_bits(second), 16));
#endif
}

// A group's weights, (code - zero) * scale + min, into the 16 rows of a tile: row p holds columns
// 2p and 2p + 1 of the 16 outputs.
template <Codes kCodes, ScaleKind kKind>
[[gnu::always_inline]] inline void expand_group(const std::uint8_t* group, __m512i table,
                                                const GroupScales& scales, std::uint16_t* out) {
  constexpr bool kMins = kKind == ScaleKind::scale_and_min || kKind == ScaleKind::k_scale_and_min;
  constexpr auto kZero = static_cast<float>(zero_point(kCodes, kKind));
  const auto offset = [&](__m512 scale, __m512 min) {
    return kZero == 0 ? min : _mm512_fnmadd_ps(_mm512_set1_ps(kZero), scale, min);
  };
  const __m512 none = _mm512_setzero_ps();
  __m512i codes[kSteps];
  load_codes<kCodes>(group, table, codes);
  const __m512i byte = _mm512_set1_epi32(255);
  // Codes of up to four bits are looked up, which is one operation less than to mask and convert.
  const __m512 numbers = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const auto number = [&](__m512i shifted) {
    if constexpr (code_bits(kCodes) <= 4 && !has_table(kCodes)) {
      return _mm512_permutexvar_ps(shifted, numbers);
    } else {
      return _mm512_cvtepi32_ps(_mm512_and_si512(shifted, byte));
    }
  };
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const bool second = has_halves(kKind) && half == 1;
    const __m512 scale = second ? scales.second : scales.first;
    __m512 min = kMins ? scales.second : none;
    if constexpr (kKind == ScaleKind::k_half_scale_and_min) {
      min = second ? scales.second_min : scales.first_min;
    }
    min = offset(scale, min);
#pragma GCC unroll 4
    for (int step = 4 * half; step < 4 * half + 4; ++step) {
      __m512 columns[4];
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) {
        columns[c] = _mm512_fmadd_ps(number(_mm512_srli_epi32(codes[step], 8 * c)), scale, min);
      }
      std::uint16_t* const row = out + 2 * step * 2 * kTileRows;
      _mm512_store_si512(row, pairs_of(columns[0], columns[1]));
      _mm512_store_si512(row + 2 * kTileRows, pairs_of(columns[2], columns[3]));
    }
  }
}

template <class Unit>
class PromptDriver {
 public:
  static void round(const float* values, int columns, std::uint16_t* out) {
    for (int c = 0; c < columns; c += kGroupColumns, out += PromptInput::kGroupStride) {
      const __m512 low = _mm512_loadu_ps(values + c), high = _mm512_loadu_ps(values + c + 16);
      const __m256i lower = _mm512_cvtepi32_epi16(rounded_bits(low));
      const __m256i upper = _mm512_cvtepi32_epi16(rounded_bits(high));
      _mm512_store_si512(out, _mm512_inserti64x4(_mm512_castsi256_si512(lower), upper, 1));
    }
  }

  static void multiply(const PackedMatrix& matrix, const PromptInput& input, int first_tile,
                       int end_tile, const PromptOutput& out, PromptScratch& scratch) {
    const typename Unit::Session session;
    const Product product{static_cast<const PackedTiles&>(matrix), input, out};
    const int blocks = (input.rows + kPromptRows - 1) / kPromptRows;
    const int groups = product.matrix.layout().groups;
    for (int block = 0; block < blocks; block += kPassBlocks) {
      const int count = least(blocks - block, kPassBlocks);
      const int panel = even_part(groups, kPanelGroups / count);
      for (int group = 0; group < groups; group += panel) {
        const int end = least(group + panel, groups);
        for (int tile = first_tile; tile < end_tile; tile += kMostTiles) {
          const Pass pass = {block, count, tile, least(end_tile - tile, kMostTiles), group, end};
          multiply_pass(product, pass, scratch);
        }
      }
    }
  }

 private:
  struct Product {
    const PackedTiles& matrix;
    const PromptInput& input;
    const PromptOutput& out;
  };
  // So many blocks of rows and tiles from these on, over groups [group, end).
  struct Pass {
    int block, blocks, tile, tiles, group, end;
  };

  static int least(int a, int b) { return a < b ? a : b; }
  // Of the fewest equal parts of `all` that are not longer than `most`, the length.
  static int even_part(int all, int most) {
    const int parts = (all + most - 1) / most;
    return (all + parts - 1) / parts;
  }

  static void multiply_pass(const Product& product, const Pass& pass, PromptScratch& scratch) {
    const TileLayout& layout = product.matrix.layout();
    const int chunk = even_part(pass.end - pass.group, kChunkGroups);
    for (int group = pass.group; group < pass.end; group += chunk) {
      const int groups = least(pass.end - group, chunk);
      for (int t = 0; t < pass.tiles; ++t) {
        expand(layout, product.matrix.tile(pass.tile + t), group, groups, scratch.weights[t][0]);
      }
      for (int b = 0; b < pass.blocks; b += 2) {
        multiply_blocks(product, pass, {b, least(pass.blocks - b, 2), group, groups}, scratch);
      }
    }
  }

  // One or two blocks of a pass, by all its tiles, over so many groups.
  struct Part {
    int block, blocks, group, groups;
  };

  static void multiply_blocks(const Product& product, const Pass& pass, const Part& part,
                              PromptScratch& scratch) {
    const std::ptrdiff_t stride = PromptInput::block_size(product.input.columns);
    const int block = pass.block + part.block;
    const std::uint16_t* input =
        product.input.tiles + block * stride + part.group * PromptInput::kGroupStride;
    const bool begins = part.group == pass.group, ends = part.group + part.groups == pass.end;
    const bool in_order = lies_in_order(product, block, part.blocks, pass.tile + pass.tiles);
    const Sums kept = {scratch.sums[part.block][0], kTileRows, kMostTiles * kSumNumbers,
                       kSumNumbers};
    const Sums placed = in_order ? place_of(product, block, pass.tile) : kept;
    const auto for_each_tile = [&](auto&& move) {
      for (int i = 0; i < part.blocks; ++i) {
        for (int t = 0; t < pass.tiles; ++t)
          move(product, block + i, pass.tile + t, scratch.sums[part.block + i][t]);
      }
    };
    if (begins && part.group > 0 && !in_order) for_each_tile(read);
    const Sums& so_far = begins ? placed : kept;
    accumulate(part, pass.tiles, input, stride, scratch.weights[0][0],
               part.group == 0 ? nullptr : &so_far, ends ? placed : kept);
    if (ends && !in_order) for_each_tile(write);
  }

  static void accumulate(const Part& part, int tiles, const std::uint16_t* input,
                         std::ptrdiff_t stride, const std::uint16_t* weights, const Sums* from,
                         const Sums& to) {
    constexpr std::ptrdiff_t kStride = kChunkGroups * kTileNumbers;
    const int groups = part.groups;
    if (part.blocks == 2 && tiles == 2) {
      Unit::template accumulate<2, 2>(input, stride, weights, kStride, groups, from, to);
    } else if (part.blocks == 2) {
      Unit::template accumulate<2, 1>(input, stride, weights, kStride, groups, from, to);
    } else if (tiles == 2) {
      Unit::template accumulate<1, 2>(input, stride, weights, kStride, groups, from, to);
    } else {
      Unit::template accumulate<1, 1>(input, stride, weights, kStride, groups, from, to);
    }
  }

  // Whether whole tiles of sums are what goes out, up to tile `end_tile`.
  static bool lies_in_order(const Product& product, int block, int blocks, int end_tile) {
    const int first = block * kPromptRows, end = first + blocks * kPromptRows;
    if (end > product.input.rows || end_tile * kTileRows > product.matrix.rows()) return false;
    const int* const places = product.out.places;
    return !places || places[end - 1] - places[first] == end - 1 - first;
  }
  static Sums place_of(const Product& product, int block, int tile) {
    const int first = block * kPromptRows;
    const std::ptrdiff_t row = product.out.places ? product.out.places[first] : first;
    const std::ptrdiff_t stride = product.out.stride;
    return {product.out.values + row * stride + tile * kTileRows, stride, kPromptRows * stride,
            kTileRows};
  }

  // Of a block of rows and a tile those rows and outputs that are there, to where they go.
  static void write(const Product& product, int block, int tile, const float* sums) {
    const __mmask16 there = outputs_of(product, tile);
    for (int i = 0; i < rows_of(product, block); ++i) {
      _mm512_mask_storeu_ps(place_of(product, block, tile, i), there,
                            _mm512_load_ps(sums + i * kTileRows));
    }
  }
  // And back.
  static void read(const Product& product, int block, int tile, float* sums) {
    const __mmask16 there = outputs_of(product, tile);
    for (int i = 0; i < rows_of(product, block); ++i) {
      _mm512_store_ps(sums + i * kTileRows,
                      _mm512_maskz_loadu_ps(there, place_of(product, block, tile, i)));
    }
  }
  static __mmask16 outputs_of(const Product& product, int tile) {
    const int outputs = product.matrix.rows() - tile * kTileRows;
    return static_cast<__mmask16>(outputs < kTileRows ? (1 << outputs) - 1 : 0xffff);
  }
  static int rows_of(const Product& product, int block) {
    return least(product.input.rows - block * kPromptRows, kPromptRows);
  }
  static float* place_of(const Product& product, int block, int tile, int row) {
    const int index = block * kPromptRows + row;
    const std::ptrdiff_t place = product.out.places ? product.out.places[index] : index;
    return product.out.values + place * product.out.stride + tile * kTileRows;
  }

  static void expand(const TileLayout& layout, const std::uint8_t* tile, int first, int count,
                     std::uint16_t* out) {
    switch (layout.codes) {
      case Codes::none:
        return;
      case Codes::bits1:
        return expand_codes<Codes::bits1, ScaleKind::scale>(layout, tile, first, count, out);
      case Codes::bits2:
        return expand_codes<Codes::bits2, ScaleKind::scale, ScaleKind::k_half_scale_and_min>(
            layout, tile, first, count, out);
      case Codes::bits3:
        return expand_codes<Codes::bits3, ScaleKind::k_half_scale>(layout, tile, first, count, out);
      case Codes::bits4:
        return expand_codes<Codes::bits4, ScaleKind::scale, ScaleKind::scale_and_min,
                            ScaleKind::k_scale_and_min>(layout, tile, first, count, out);
      case Codes::bits5:
        return expand_codes<Codes::bits5, ScaleKind::scale, ScaleKind::scale_and_min,
                            ScaleKind::k_scale_and_min>(layout, tile, first, count, out);
      case Codes::bits6:
        return expand_codes<Codes::bits6, ScaleKind::scale_and_min, ScaleKind::k_half_scale>(
            layout, tile, first, count, out);
      case Codes::bits8:
        return expand_codes<Codes::bits8, ScaleKind::scale, ScaleKind::scale_and_min>(
            layout, tile, first, count, out);
      case Codes::table3:
        return expand_codes<Codes::table3, ScaleKind::k_scale, ScaleKind::k_half_scale>(
            layout, tile, first, count, out);
      case Codes::table4:
        return expand_codes<Codes::table4, ScaleKind::scale, ScaleKind::k_scale>(layout, tile,
                                                                                 first, count, out);
      case Codes::small_table4:
        return expand_codes<Codes::small_table4, ScaleKind::k_scale, ScaleKind::exponent,
                            ScaleKind::half_e4m3>(layout, tile, first, count, out);
    }
  }

  // The kinds of scales that layouts of these codes have.
  template <Codes kCodes, ScaleKind... kKinds>
  static void expand_codes(const TileLayout& layout, const std::uint8_t* tile, int first, int count,
                           std::uint16_t* out) {
    const ScaleKind kind = layout.scale_kind;
    ((kind == kKinds ? expand_groups<kCodes, kKinds>(layout, tile, first, count, out) : void()),
     ...);
  }

  template <Codes kCodes, ScaleKind kKind>
  static void expand_groups(const TileLayout& layout, const std::uint8_t* tile, int first,
                            int count, std::uint16_t* out) {
    const __m512i table = load_table<kCodes>(layout);
    const int per_block = layout.groups_per_block;
    // Into the level-2 cache, what the next tiles have here.
    const auto ahead = static_cast<std::ptrdiff_t>(kMostTiles * layout.tile_bytes());
    for (int group = first; group < first + count;) {
      const std::uint8_t* block =
          tile + static_cast<std::size_t>(group / per_block) * layout.block_bytes();
      const BlockScales<kCodes, kKind> scales(block, layout);
      int g = group % per_block;
      const std::uint8_t* codes = block + header_bytes(kKind) + g * group_bytes(kCodes);
      _mm_prefetch(reinterpret_cast<const char*>(block + ahead), _MM_HINT_T1);
      for (; g < per_block && group < first + count; ++g, ++group) {
        for (int line = 0; line < group_bytes(kCodes); line += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(codes + ahead + line), _MM_HINT_T1);
        }
        expand_group<kCodes, kKind>(codes, table, scales.group(g), out);
        codes += group_bytes(kCodes);
        out += kTileNumbers;
      }
    }
  }
};

}  // namespace
}  // namespace mlxd::cpu
