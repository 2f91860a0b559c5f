// The kernels of NEON around the dot products of one of its extensions: what kernels_neon*.cc have
// in common. A Dots provides
//   static constexpr int kRowBlocks[]: as the Isa of kernel_driver.h;
//   template <Codes kCodes, int kFirst, int kEnd, int kRows, int kQuarters> static void add(const
//       uint8_t* group, int quarter, int8x16_t table, const InputGroup* input, int32x4_t
//       (&dots)[kRows][kQuarters]): dots[row][q] += the products of steps [kFirst, kEnd) of the
//       rows of quarter + q;
//   optionally arrange(InputGroup* groups, int count, int rows): how it wants a prepared block.
#pragma once

#include <cstddef>
#include <cstdint>

#include <arm_neon.h>

#include "backend/cpu/isa.h"
#include "backend/cpu/kernel_driver.h"
#include "backend/cpu/neon_codes.h"

namespace mlxd::cpu {
namespace {

constexpr int kPrefetchBytes = 4096;

// Quarters of a tile that a block of so many rows takes at a time: of 32 registers sums and dot
// products have 16 or fewer. A single row goes through a tile once, in the order in which it lies;
// more find it in cache from the second time on.
constexpr int quarters_for(int rows) { return rows > 4 ? 1 : rows > 1 ? 2 : 4; }

template <Codes kCodes>
[[gnu::always_inline]] inline void prefetch(const std::uint8_t* group) {
  constexpr int kBytes = group_bytes(kCodes);
#pragma GCC unroll 8
  for (int line = 0; line < kBytes; line += 64) {
    __builtin_prefetch(group + kPrefetchBytes + line);
  }
}

// What the dot products of a group or of its half start from.
template <bool kBias, int kRows, int kQuarters>
[[gnu::always_inline]] inline void start(const InputGroup* input, int which,
                                         int32x4_t (&dots)[kRows][kQuarters]) {
#pragma GCC unroll 8
  for (int b = 0; b < kRows; ++b) {
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      dots[b][q] = vdupq_n_s32(kBias ? input[b].bias[which] : 0);
    }
  }
}

// Lane 0: InputGroup::scale, lane 1: its sum.
[[gnu::always_inline]] inline float32x2_t load_factors(const InputGroup& input) {
  static_assert(offsetof(InputGroup, sum) == offsetof(InputGroup, scale) + sizeof(float));
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&input) + offsetof(InputGroup, scale);
  return vld1_f32(reinterpret_cast<const float*>(bytes));
}

template <class Dots, Codes kCodes, ScaleKind kKind, int kRows, int kQuarters>
[[gnu::always_inline]] inline void accumulate(const std::uint8_t* group, int quarter,
                                              const std::uint8_t* header, int g,
                                              const TileLayout& layout, int8x16_t table,
                                              const InputGroup* input,
                                              float32x4_t (&sums)[kRows][kQuarters]) {
  constexpr bool kHalves = has_halves(kKind);
  constexpr bool kMin = kKind == ScaleKind::scale_and_min || kKind == ScaleKind::k_scale_and_min;
  constexpr bool kBias = bias_zero(kCodes, kKind) > 0 && !is_signed(kCodes);
  int32x4_t dots[kRows][kQuarters];
  start<kBias>(input, 0, dots);
  Dots::template add<kCodes, 0, kHalves ? kSteps / 2 : kSteps>(group, quarter, table, input, dots);
  GroupScales scales[kQuarters];
#pragma GCC unroll 4
  for (int q = 0; q < kQuarters; ++q) {
    scales[q] = load_scales<kCodes, kKind>(header, g, quarter + q, layout);
  }
  float32x4_t scaled[kRows][kQuarters];
#pragma GCC unroll 8
  for (int b = 0; b < kRows; ++b) {
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      scaled[b][q] = vmulq_f32(vcvtq_f32_s32(dots[b][q]), scales[q].first);
    }
  }
  if constexpr (kHalves) {
    start<kBias>(input, 1, dots);
    Dots::template add<kCodes, kSteps / 2, kSteps>(group, quarter, table, input, dots);
#pragma GCC unroll 8
    for (int b = 0; b < kRows; ++b) {
      float32x2_t sums_of_halves = vdup_n_f32(0);
      if constexpr (kKind == ScaleKind::k_half_scale_and_min) {
        sums_of_halves = vreinterpret_f32_s32(vld1_s32(input[b].bias));
      }
#pragma GCC unroll 4
      for (int q = 0; q < kQuarters; ++q) {
        float32x4_t& sum = scaled[b][q];
        sum = vfmaq_f32(sum, vcvtq_f32_s32(dots[b][q]), scales[q].second);
        if constexpr (kKind == ScaleKind::k_half_scale_and_min) {
          sum = vfmaq_lane_f32(sum, scales[q].first_min, sums_of_halves, 0);
          sum = vfmaq_lane_f32(sum, scales[q].second_min, sums_of_halves, 1);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int b = 0; b < kRows; ++b) {
    const float32x2_t factors = load_factors(input[b]);
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      sums[b][q] = vfmaq_lane_f32(sums[b][q], scaled[b][q], factors, 0);
      if constexpr (kMin) sums[b][q] = vfmaq_lane_f32(sums[b][q], scales[q].second, factors, 1);
    }
  }
}

template <Encoding kFloats>
[[gnu::always_inline]] inline float32x4_t load_weights(const std::uint8_t* tile, int column,
                                                       int quarter) {
  const int index = column * kTileRows + quarter * kQuarterRows;
  if constexpr (kFloats == Encoding::f32) return load_floats(tile + 4 * index);
  if constexpr (kFloats == Encoding::f16) return load_halves(tile + 2 * index);
  return load_bfloats(tile + 2 * index);
}

// sums[b][kColumn][q] += the products of one of four columns from `column` on.
template <Encoding kFloats, int kColumn, int kRows, int kQuarters>
[[gnu::always_inline]] inline void add_columns(const std::uint8_t* tile, int column, int quarter,
                                               const float32x4_t (&values)[kRows],
                                               float32x4_t (&sums)[kRows][4][kQuarters]) {
#pragma GCC unroll 4
  for (int q = 0; q < kQuarters; ++q) {
    const float32x4_t weights = load_weights<kFloats>(tile, column + kColumn, quarter + q);
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) {
      float32x4_t& sum = sums[b][kColumn][q];
      sum = vfmaq_laneq_f32(sum, weights, values[b], kColumn);
    }
  }
  if constexpr (kColumn < 3) {
    add_columns<kFloats, kColumn + 1>(tile, column, quarter, values, sums);
  }
}

// The Isa of kernel_driver.h.
template <class Dots>
struct Neon : Dots {
  static constexpr int kFloatRowBlocks[] = {4, 2, 1};

  static HalfSums half_sums(const std::int8_t* quantized) {
    return {vaddlvq_s8(vld1q_s8(quantized)), vaddlvq_s8(vld1q_s8(quantized + 16))};
  }

  template <Codes kCodes, ScaleKind kKind, int kRows>
  static void quantized_tile(const TileLayout& layout, const std::uint8_t* tile,
                             const InputGroup* input, float* out, std::ptrdiff_t stride) {
    constexpr int kQuarters = quarters_for(kRows);
    for (int quarter = 0; quarter < 4; quarter += kQuarters) {
      part_of_tile<kCodes, kKind, kRows, kQuarters>(layout, tile, quarter, input,
                                                    out + quarter * kQuarterRows, stride);
    }
  }

  template <Codes kCodes, ScaleKind kKind, int kRows, int kQuarters>
  static void part_of_tile(const TileLayout& layout, const std::uint8_t* tile, int quarter,
                           const InputGroup* input, float* out, std::ptrdiff_t stride) {
    const std::size_t block_bytes = layout.block_bytes();
    const int8x16_t table = load_table<kCodes>(layout);
    float32x4_t sums[kRows][kQuarters];
#pragma GCC unroll 8
    for (int b = 0; b < kRows; ++b) {
#pragma GCC unroll 4
      for (int q = 0; q < kQuarters; ++q) sums[b][q] = vdupq_n_f32(0);
    }
    for (int left = layout.groups; left > 0; left -= layout.groups_per_block) {
      const std::uint8_t* group = tile + header_bytes(kKind);
      const int count = left < layout.groups_per_block ? left : layout.groups_per_block;
      for (int g = 0; g < count; ++g, input += kRows, group += group_bytes(kCodes)) {
        if (quarter == 0) prefetch<kCodes>(group);
        accumulate<Dots, kCodes, kKind>(group, quarter, tile, g, layout, table, input, sums);
      }
      tile += block_bytes;
    }
#pragma GCC unroll 8
    for (int b = 0; b < kRows; ++b) {
#pragma GCC unroll 4
      for (int q = 0; q < kQuarters; ++q) {
        vst1q_f32(out + b * stride + q * kQuarterRows, sums[b][q]);
      }
    }
  }

  template <Encoding kFloats, int kRows>
  static void float_tile(int columns, const std::uint8_t* tile, const float* values,
                         std::ptrdiff_t value_stride, float* out, std::ptrdiff_t stride) {
    constexpr int kQuarters = 4 / kRows;
    for (int quarter = 0; quarter < 4; quarter += kQuarters) {
      float_part<kFloats, kRows, kQuarters>(columns, tile, quarter, values, value_stride,
                                            out + quarter * kQuarterRows, stride);
    }
  }

  // Four partial sums a row, by column modulo 4, hide the latency of the multiply-add.
  template <Encoding kFloats, int kRows, int kQuarters>
  static void float_part(int columns, const std::uint8_t* tile, int quarter, const float* values,
                         std::ptrdiff_t value_stride, float* out, std::ptrdiff_t stride) {
    float32x4_t sums[kRows][4][kQuarters];
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
        for (int q = 0; q < kQuarters; ++q) sums[b][i][q] = vdupq_n_f32(0);
      }
    }
    for (int c = 0; c < columns; c += 4) {
      float32x4_t four[kRows];
#pragma GCC unroll 4
      for (int b = 0; b < kRows; ++b) four[b] = vld1q_f32(values + b * value_stride + c);
      add_columns<kFloats, 0>(tile, c, quarter, four, sums);
    }
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) {
#pragma GCC unroll 4
      for (int q = 0; q < kQuarters; ++q) {
        const float32x4_t first = vaddq_f32(sums[b][0][q], sums[b][1][q]);
        const float32x4_t second = vaddq_f32(sums[b][2][q], sums[b][3][q]);
        vst1q_f32(out + b * stride + q * kQuarterRows, vaddq_f32(first, second));
      }
    }
  }
};

void quantize(const float* values, int columns, std::int8_t* quantized, float* scales,
              float* sums) {
  for (int g = 0; g < columns / kGroupColumns; ++g) {
    float32x4_t parts[8];
    float32x4_t maximum = vdupq_n_f32(0);
    for (int i = 0; i < 8; ++i) {
      parts[i] = vld1q_f32(values + g * kGroupColumns + 4 * i);
      maximum = vmaxnmq_f32(maximum, vabsq_f32(parts[i]));
    }
    const QuantizeFactors factors = quantize_factors(vmaxnmvq_f32(maximum));
    std::int8_t* to = quantized + g * kGroupColumns;
    int sum = 0;
    for (int i = 0; i < 8; i += 4) {
      int16x4_t codes[4];
      for (int j = 0; j < 4; ++j) {
        codes[j] = vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(parts[i + j], factors.inverse)));
      }
      const int16x8_t low = vcombine_s16(codes[0], codes[1]);
      const int16x8_t high = vcombine_s16(codes[2], codes[3]);
      sum += vaddvq_s16(vaddq_s16(low, high));
      vst1q_s8(to + 4 * i, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
    }
    scales[g] = factors.scale;
    sums[g] = factors.scale * static_cast<float>(sum);
  }
}

template <class Dots>
constexpr Kernels kernels_of(std::string_view name) {
  return {
      .name = name,
      .pack = pack,
      .allocate = allocate_packed,
      .pack_tiles = pack_tiles,
      .prepare = KernelDriver<Neon<Dots>>::prepare,
      .multiply = KernelDriver<Neon<Dots>>::multiply,
      .decode_row = decode_row,
      .quantize = quantize,
  };
}

}  // namespace
}  // namespace mlxd::cpu
