// How AVX-512 reads the tiles of a packed matrix (packed_matrix.h): a group's codes and its scales.
// Included by the files of that instruction set alone.
#pragma once

#include <cstdint>

#include <immintrin.h>

#include "backend/cpu/packed_matrix.h"

namespace mlxd::cpu {
namespace {

constexpr int kSteps = 8;  // of four columns, in a group

[[gnu::always_inline]] inline __m512 load_halves(const std::uint8_t* from) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(from)));
}

[[gnu::always_inline]] inline __m512 load_bfloats(const std::uint8_t* from) {
  const __m256i bits = _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

[[gnu::always_inline]] inline __m512 load_unsigned_bytes(const std::uint8_t* from) {
  const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(from));
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}

[[gnu::always_inline]] inline __m512 load_signed_bytes(const std::uint8_t* from) {
  const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(from));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

[[gnu::always_inline]] inline __m512i load_bytes(const std::uint8_t* from) {
  return _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(from)));
}

// 2^(exponent - 128) of 16 bytes; the exponent alone would say 0 for 2^-127.
[[gnu::always_inline]] inline __m512 load_exponents(const std::uint8_t* from) {
  const __m512i bits = _mm512_slli_epi32(load_bytes(from), 23);
  const __m512i least = _mm512_max_epi32(bits, _mm512_set1_epi32(1 << 22));
  return _mm512_mul_ps(_mm512_castsi512_ps(least), _mm512_set1_ps(0.5f));
}

// Half of 16 E4M3 numbers without sign, times the tensor's scale: at their places in a float they
// lack only the bias.
[[gnu::always_inline]] inline __m512 load_e4m3(const std::uint8_t* from, float tensor_scale) {
  const __m512i bits = _mm512_slli_epi32(load_bytes(from), 20);
  return _mm512_mul_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0x1p119f * tensor_scale));
}

// The scales of one group, ready to use. `second` is the minimum, or the second half's scale; with
// halves and minima both, these are in the last two.
struct GroupScales {
  __m512 first;
  __m512 second;
  __m512 first_min;
  __m512 second_min;
};

// Reads a block's header once, then a group's scales from it.
template <Codes kCodes, ScaleKind kKind>
class BlockScales {
 public:
  BlockScales(const std::uint8_t* header, const TileLayout& layout)
      : header_(header), scale_shift_(layout.scale_shift), tensor_scale_(layout.tensor_scale) {
    if constexpr (kKind == ScaleKind::scale_and_min) {
      const bool bfloat16 = layout.bfloat16_scales;
      first_ = bfloat16 ? load_bfloats(header) : load_halves(header);
      second_ = bfloat16 ? load_bfloats(header + 32) : load_halves(header + 32);
      if constexpr (zero_point(kCodes, kKind) != 0) {
        second_ = _mm512_fmadd_ps(first_, _mm512_set1_ps(zero_point(kCodes, kKind)), second_);
      }
    } else if constexpr (kKind == ScaleKind::k_scale_and_min ||
                         kKind == ScaleKind::k_half_scale_and_min) {
      first_ = load_halves(header);
      second_ = _mm512_sub_ps(_mm512_setzero_ps(), load_halves(header + 32));
    } else if constexpr (kKind == ScaleKind::k_scale || kKind == ScaleKind::k_half_scale) {
      first_ = _mm512_load_ps(header);
    }
  }

  GroupScales group(int g) const {
    const __m512 none = _mm512_setzero_ps();
    const std::uint8_t* levels = header_ + 64;
    if constexpr (kKind == ScaleKind::scale) {
      return {load_halves(header_ + 32 * (g >> scale_shift_)), none, none, none};
    } else if constexpr (kKind == ScaleKind::scale_and_min) {
      return {first_, second_, none, none};
    } else if constexpr (kKind == ScaleKind::k_scale) {
      return {_mm512_mul_ps(first_, load_signed_bytes(levels + 16 * g)), none, none, none};
    } else if constexpr (kKind == ScaleKind::k_scale_and_min) {
      return {_mm512_mul_ps(first_, load_unsigned_bytes(levels + 16 * g)),
              _mm512_mul_ps(second_, load_unsigned_bytes(levels + 128 + 16 * g)), none, none};
    } else if constexpr (kKind == ScaleKind::k_half_scale) {
      return {_mm512_mul_ps(first_, load_signed_bytes(levels + 32 * g)),
              _mm512_mul_ps(first_, load_signed_bytes(levels + 32 * g + 16)), none, none};
    } else if constexpr (kKind == ScaleKind::exponent) {
      return {load_exponents(header_ + 16 * g), none, none, none};
    } else if constexpr (kKind == ScaleKind::half_e4m3) {
      return {load_e4m3(header_ + 32 * g, tensor_scale_),
              load_e4m3(header_ + 32 * g + 16, tensor_scale_), none, none};
    } else {
      const auto low = [](__m512i pair) {
        return _mm512_cvtepi32_ps(_mm512_and_si512(pair, _mm512_set1_epi32(15)));
      };
      const auto high = [](__m512i pair) { return _mm512_cvtepi32_ps(_mm512_srli_epi32(pair, 4)); };
      const __m512i first = load_bytes(levels + 32 * g), second = load_bytes(levels + 32 * g + 16);
      return {_mm512_mul_ps(first_, low(first)), _mm512_mul_ps(first_, low(second)),
              _mm512_mul_ps(second_, high(first)), _mm512_mul_ps(second_, high(second))};
    }
  }

 private:
  const std::uint8_t* header_;
  int scale_shift_;
  float tensor_scale_;
  __m512 first_, second_;
};

// kShift > 0 shifts left, < 0 right; bits that cross a byte are masked off by the caller.
template <int kShift>
[[gnu::always_inline]] inline __m512i shift(__m512i value) {
  if constexpr (kShift > 0) return _mm512_slli_epi16(value, kShift);
  if constexpr (kShift < 0) return _mm512_srli_epi16(value, -kShift);
  return value;
}

// code | (plane with bit kFrom moved to bit kTo) & mask
template <int kFrom, int kTo>
[[gnu::always_inline]] inline __m512i with_bits(__m512i code, __m512i plane, __m512i mask) {
  return _mm512_ternarylogic_epi32(code, shift<kTo - kFrom>(plane), mask, 0xf8);  // A | (B & C)
}

// The same for each step with its bit of one plane.
template <int kTo, int kStep = 0>
[[gnu::always_inline]] inline void add_single_bits(__m512i plane, __m512i (&codes)[kSteps]) {
  codes[kStep] = with_bits<kStep, kTo>(codes[kStep], plane, _mm512_set1_epi8(1 << kTo));
  if constexpr (kStep + 1 < kSteps) add_single_bits<kTo, kStep + 1>(plane, codes);
}

// The same for the four steps of a half with their pairs of bits of one plane.
template <int kTo, int kStep = 0>
[[gnu::always_inline]] inline void add_pairs(__m512i plane, __m512i* codes) {
  codes[kStep] = with_bits<2 * kStep, kTo>(codes[kStep], plane, _mm512_set1_epi8(3 << kTo));
  if constexpr (kStep < 3) add_pairs<kTo, kStep + 1>(plane, codes);
}

template <Codes kCodes>
[[gnu::always_inline]] inline void load_codes(const std::uint8_t* group, __m512i table,
                                              __m512i (&codes)[kSteps]) {
  constexpr int kBits = code_bits(kCodes);
  const auto plane = [group](int i) { return _mm512_load_si512(group + 64 * i); };
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int k = 0; k < kSteps; ++k) codes[k] = plane(k);
    return;
  }
  if constexpr (kBits == 1) {
#pragma GCC unroll 8
    for (int k = 0; k < kSteps; ++k) codes[k] = _mm512_setzero_si512();
    add_single_bits<1>(plane(0), codes);
  } else if constexpr (kBits < 4) {
    const __m512i low = _mm512_set1_epi8(3);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m512i pairs = plane(half);
      codes[4 * half] = _mm512_and_si512(pairs, low);
      codes[4 * half + 1] = _mm512_and_si512(shift<-2>(pairs), low);
      codes[4 * half + 2] = _mm512_and_si512(shift<-4>(pairs), low);
      codes[4 * half + 3] = _mm512_and_si512(shift<-6>(pairs), low);
    }
    if constexpr (kBits == 3) add_single_bits<2>(plane(2), codes);
  } else {
    const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i pair = plane(i);
      codes[2 * i] = _mm512_and_si512(pair, low);
      codes[2 * i + 1] = _mm512_and_si512(shift<-4>(pair), low);
    }
    if constexpr (kBits == 5) add_single_bits<4>(plane(4), codes);
    if constexpr (kBits == 6) {
      add_pairs<4>(plane(4), codes);
      add_pairs<4>(plane(5), codes + 4);
    }
  }
  if constexpr (has_table(kCodes)) {
#pragma GCC unroll 8
    for (int k = 0; k < kSteps; ++k) codes[k] = _mm512_shuffle_epi8(table, codes[k]);
  }
}

// The numbers that codes stand for, with the zero point, in each quarter of a register.
template <Codes kCodes>
[[gnu::always_inline]] inline __m512i load_table(const TileLayout& layout) {
  if constexpr (!has_table(kCodes)) return _mm512_setzero_si512();
  const auto* from = reinterpret_cast<const __m128i*>(layout.table.data());
  const auto zero = static_cast<char>(zero_point(kCodes, ScaleKind::scale));
  return _mm512_add_epi8(_mm512_broadcast_i32x4(_mm_load_si128(from)), _mm512_set1_epi8(zero));
}

}  // namespace
}  // namespace mlxd::cpu
