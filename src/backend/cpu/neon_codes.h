// How NEON reads the tiles of a packed matrix (packed_matrix.h): a group's codes and its scales,
// for a quarter of a tile, which is 4 rows, at a time. Included by the files of that instruction
// set alone.
#pragma once

#include <cstdint>

#include <arm_neon.h>

#include "backend/cpu/packed_matrix.h"

namespace mlxd::cpu {
namespace {

constexpr int kSteps = 8;        // of four columns, in a group
constexpr int kQuarterRows = 4;  // rows of a tile in one register

// Codes that are the signed numbers that they stand for; the others are unsigned, of at most 6
// bits, and their zero point is in the bias of the input.
constexpr bool is_signed(Codes codes) { return codes == Codes::bits8 || has_table(codes); }

// All helpers are inlined by force: arrays of registers are passed by reference.

[[gnu::always_inline]] inline float32x4_t load_floats(const std::uint8_t* from) {
  return vld1q_f32(reinterpret_cast<const float*>(from));
}

[[gnu::always_inline]] inline float32x4_t load_halves(const std::uint8_t* from) {
  const uint16x4_t bits = vld1_u16(reinterpret_cast<const std::uint16_t*>(from));
  return vcvt_f32_f16(vreinterpret_f16_u16(bits));
}

[[gnu::always_inline]] inline float32x4_t load_bfloats(const std::uint8_t* from) {
  const uint16x4_t bits = vld1_u16(reinterpret_cast<const std::uint16_t*>(from));
  return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(bits), 16));
}

[[gnu::always_inline]] inline uint32x4_t load_bytes(const std::uint8_t* from) {
  std::uint32_t four;
  __builtin_memcpy(&four, from, sizeof four);
  const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(four));
  return vmovl_u16(vget_low_u16(vmovl_u8(bytes)));
}

[[gnu::always_inline]] inline float32x4_t load_unsigned_bytes(const std::uint8_t* from) {
  return vcvtq_f32_u32(load_bytes(from));
}

[[gnu::always_inline]] inline float32x4_t load_signed_bytes(const std::uint8_t* from) {
  std::uint32_t four;
  __builtin_memcpy(&four, from, sizeof four);
  const int8x8_t bytes = vreinterpret_s8_u32(vdup_n_u32(four));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
}

// 2^(exponent - 128) of 4 bytes; the exponent alone would say 0 for 2^-127.
[[gnu::always_inline]] inline float32x4_t load_exponents(const std::uint8_t* from) {
  const uint32x4_t bits = vshlq_n_u32(load_bytes(from), 23);
  const uint32x4_t least = vmaxq_u32(bits, vdupq_n_u32(1u << 22));
  return vmulq_f32(vreinterpretq_f32_u32(least), vdupq_n_f32(0.5f));
}

// Half of 4 E4M3 numbers without sign, times the tensor's scale: at their places in a float they
// lack only the bias.
[[gnu::always_inline]] inline float32x4_t load_e4m3(const std::uint8_t* from, float tensor_scale) {
  const uint32x4_t bits = vshlq_n_u32(load_bytes(from), 20);
  return vmulq_f32(vreinterpretq_f32_u32(bits), vdupq_n_f32(0x1p119f * tensor_scale));
}

// The scales of 4 rows for one group; `second` is the minimum, or the second half's scale; with
// halves and minima both, these are in the last two.
struct GroupScales {
  float32x4_t first;
  float32x4_t second;
  float32x4_t first_min;
  float32x4_t second_min;
};

template <Codes kCodes, ScaleKind kKind>
[[gnu::always_inline]] inline GroupScales load_scales(const std::uint8_t* header, int g,
                                                      int quarter, const TileLayout& layout) {
  const float32x4_t none = vdupq_n_f32(0);
  const std::uint8_t* f16 = header + 2 * kQuarterRows * quarter;
  const std::uint8_t* bytes = header + kQuarterRows * quarter;
  const std::uint8_t* levels = bytes + 64;
  if constexpr (kKind == ScaleKind::scale) {
    return {load_halves(f16 + 32 * (g >> layout.scale_shift)), none, none, none};
  } else if constexpr (kKind == ScaleKind::scale_and_min) {
    const bool bfloat16 = layout.bfloat16_scales;
    const float32x4_t scale = bfloat16 ? load_bfloats(f16) : load_halves(f16);
    float32x4_t min = bfloat16 ? load_bfloats(f16 + 32) : load_halves(f16 + 32);
    constexpr auto kZero = static_cast<float>(zero_point(kCodes, kKind));
    if constexpr (kZero != 0) min = vfmaq_f32(min, scale, vdupq_n_f32(kZero));
    return {scale, min, none, none};
  } else if constexpr (kKind == ScaleKind::k_scale_and_min) {
    const float32x4_t dmin = vnegq_f32(load_halves(f16 + 32));
    return {vmulq_f32(load_halves(f16), load_unsigned_bytes(levels + 16 * g)),
            vmulq_f32(dmin, load_unsigned_bytes(levels + 128 + 16 * g)), none, none};
  } else if constexpr (kKind == ScaleKind::exponent) {
    return {load_exponents(bytes + 16 * g), none, none, none};
  } else if constexpr (kKind == ScaleKind::half_e4m3) {
    return {load_e4m3(bytes + 32 * g, layout.tensor_scale),
            load_e4m3(bytes + 32 * g + 16, layout.tensor_scale), none, none};
  } else if constexpr (kKind == ScaleKind::k_half_scale_and_min) {
    const float32x4_t d = load_halves(f16), dmin = vnegq_f32(load_halves(f16 + 32));
    const auto low = [](uint32x4_t pair) {
      return vcvtq_f32_u32(vandq_u32(pair, vdupq_n_u32(15)));
    };
    const auto high = [](uint32x4_t pair) { return vcvtq_f32_u32(vshrq_n_u32(pair, 4)); };
    const uint32x4_t first = load_bytes(levels + 32 * g), second = load_bytes(levels + 32 * g + 16);
    return {vmulq_f32(d, low(first)), vmulq_f32(d, low(second)), vmulq_f32(dmin, high(first)),
            vmulq_f32(dmin, high(second))};
  } else {
    const float32x4_t d = load_floats(header + 4 * kQuarterRows * quarter);
    if constexpr (kKind == ScaleKind::k_scale) {
      return {vmulq_f32(d, load_signed_bytes(levels + 16 * g)), none, none, none};
    }
    return {vmulq_f32(d, load_signed_bytes(levels + 32 * g)),
            vmulq_f32(d, load_signed_bytes(levels + 32 * g + 16)), none, none};
  }
}

// Bits kFrom and up of every byte moved to bit kTo, all others than those of `mask` cleared.
template <int kFrom, int kTo>
[[gnu::always_inline]] inline uint8x16_t move_bits(uint8x16_t bytes, int mask) {
  if constexpr (kFrom > kTo) bytes = vshrq_n_u8(bytes, kFrom - kTo);
  if constexpr (kFrom < kTo) bytes = vshlq_n_u8(bytes, kTo - kFrom);
  return vandq_u8(bytes, vdupq_n_u8(static_cast<std::uint8_t>(mask)));
}

// The numbers that codes stand for.
template <Codes kCodes>
[[gnu::always_inline]] inline int8x16_t load_table(const TileLayout& layout) {
  if constexpr (!has_table(kCodes)) return vdupq_n_s8(0);
  return vld1q_s8(layout.table.data());
}

// The codes of step kStep, or the numbers of those that are signed: row r's four columns are bytes
// 4r and up.
template <Codes kCodes, int kStep>
[[gnu::always_inline]] inline int8x16_t load_codes(const std::uint8_t* group, int quarter,
                                                   int8x16_t table) {
  constexpr int kBits = code_bits(kCodes);
  constexpr int kPair = kStep % 4 * 2;
  const auto plane = [group, quarter](int i) { return vld1q_u8(group + 64 * i + 16 * quarter); };
  if constexpr (kBits == 8) {
    return vreinterpretq_s8_u8(veorq_u8(plane(kStep), vdupq_n_u8(128)));
  } else {
    uint8x16_t code;
    if constexpr (kBits == 1) {
      code = move_bits<kStep, 1>(plane(0), 2);
    } else if constexpr (kBits < 4) {
      code = move_bits<kPair, 0>(plane(kStep / 4), 3);
    } else if constexpr (kStep % 2 == 0) {
      code = vandq_u8(plane(kStep / 2), vdupq_n_u8(15));
    } else {
      code = vshrq_n_u8(plane(kStep / 2), 4);
    }
    if constexpr (kBits == 3) {
      code = vorrq_u8(code, move_bits<kStep, 2>(plane(2), 4));
    } else if constexpr (kBits == 5) {
      code = vorrq_u8(code, move_bits<kStep, 4>(plane(4), 16));
    } else if constexpr (kBits == 6) {
      code = vorrq_u8(code, move_bits<kPair, 4>(plane(4 + kStep / 4), 48));
    }
    if constexpr (has_table(kCodes)) return vqtbl1q_s8(table, code);
    return vreinterpretq_s8_u8(code);
  }
}

}  // namespace
}  // namespace mlxd::cpu
