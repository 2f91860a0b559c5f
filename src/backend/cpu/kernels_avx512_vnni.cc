// AVX-512 with VNNI: one vpdpbusd advances the 16 rows of a tile by four columns.
#include <immintrin.h>

#include "backend/cpu/isa.h"
#include "backend/cpu/kernel_driver.h"

namespace mlxd::cpu {
namespace {

constexpr int kSteps = 8;             // of four columns, in a group
constexpr int kPrefetchBytes = 4096;  // measured: from 2 KiB on it makes no difference

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

[[gnu::always_inline]] inline __m512i broadcast_step(const InputGroup& input, int step) {
  int four;
  __builtin_memcpy(&four, input.quantized + 4 * step, sizeof four);
  return _mm512_set1_epi32(four);
}

// Adds one group's products of `kRows` input rows to their sums. The rows are interleaved so that
// their chains of dot products overlap; integer sums do not depend on the order, and the float
// operations are the same for every kRows.
template <Codes kCodes, ScaleKind kKind, int kRows>
[[gnu::always_inline]] inline void accumulate(const __m512i (&codes)[kSteps],
                                              const GroupScales& scales, const InputGroup* input,
                                              __m512* sums) {
  constexpr bool kBias = bias_zero(kCodes, kKind) > 0;
  constexpr bool kHalves = has_halves(kKind);
  // Chains for one row: few rows alone would wait for the instruction's latency.
  constexpr int kChains = kHalves || kRows <= 2 ? 2 : 1;
  __m512i dots[kRows][kChains];
#pragma GCC unroll 8
  for (int b = 0; b < kRows; ++b) {
    dots[b][0] = kBias ? _mm512_set1_epi32(input[b].bias[0]) : _mm512_setzero_si512();
    if constexpr (kChains == 2) {
      dots[b][1] = kBias && kHalves ? _mm512_set1_epi32(input[b].bias[1]) : _mm512_setzero_si512();
    }
  }
#pragma GCC unroll 8
  for (int k = 0; k < kSteps; ++k) {
    const int chain = k / (kSteps / kChains);
#pragma GCC unroll 8
    for (int b = 0; b < kRows; ++b) {
      dots[b][chain] = _mm512_dpbusd_epi32(dots[b][chain], codes[k], broadcast_step(input[b], k));
    }
  }
#pragma GCC unroll 8
  for (int b = 0; b < kRows; ++b) {
    __m512 scaled;
    if constexpr (kHalves) {
      scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[b][0]), scales.first);
      scaled = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[b][1]), scales.second, scaled);
      if constexpr (kKind == ScaleKind::k_half_scale_and_min) {
        float sums_of_halves[2];
        __builtin_memcpy(sums_of_halves, input[b].bias, sizeof sums_of_halves);
        scaled = _mm512_fmadd_ps(_mm512_set1_ps(sums_of_halves[0]), scales.first_min, scaled);
        scaled = _mm512_fmadd_ps(_mm512_set1_ps(sums_of_halves[1]), scales.second_min, scaled);
      }
    } else {
      __m512i dot = dots[b][0];
      if constexpr (kChains == 2) dot = _mm512_add_epi32(dot, dots[b][1]);
      scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), scales.first);
    }
    sums[b] = _mm512_fmadd_ps(scaled, _mm512_set1_ps(input[b].scale), sums[b]);
    if constexpr (kKind == ScaleKind::scale_and_min || kKind == ScaleKind::k_scale_and_min) {
      sums[b] = _mm512_fmadd_ps(scales.second, _mm512_set1_ps(input[b].sum), sums[b]);
    }
  }
}

template <Codes kCodes, ScaleKind kKind, int kRows>
[[gnu::always_inline]] inline void accumulate_group(const std::uint8_t* group, __m512i table,
                                                    const GroupScales& scales,
                                                    const InputGroup* input,
                                                    __m512 (&sums)[kRows]) {
  // Registers: kRows sums, 8 codes, 2 scales, and the dots of the rows taken together.
  constexpr int kTogether = has_halves(kKind) ? 2 : 4;
  constexpr int kBytes = group_bytes(kCodes);
#pragma GCC unroll 8
  for (int line = 0; line < kBytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(group) + kPrefetchBytes + line, _MM_HINT_T0);
  }
  __m512i codes[kSteps];
  load_codes<kCodes>(group, table, codes);
#pragma GCC unroll 16
  for (int b = 0; b + kTogether <= kRows; b += kTogether) {
    accumulate<kCodes, kKind, kTogether>(codes, scales, input + b, sums + b);
  }
  constexpr int kRest = kRows % kTogether;
  if constexpr (kRest > 0) {
    accumulate<kCodes, kKind, kRest>(codes, scales, input + kRows - kRest, sums + kRows - kRest);
  }
}

template <Encoding kFloats>
[[gnu::always_inline]] inline __m512 load_floats(const std::uint8_t* tile, int column) {
  if constexpr (kFloats == Encoding::f32) return _mm512_load_ps(tile + 64 * column);
  if constexpr (kFloats == Encoding::f16) return load_halves(tile + 32 * column);
  return load_bfloats(tile + 32 * column);
}

struct Avx512Vnni {
  static constexpr int kRowBlocks[] = {16, 12, 8, 6, 4, 3, 2, 1};
  static constexpr int kFloatRowBlocks[] = {4, 3, 2, 1};

  static HalfSums half_sums(const std::int8_t* quantized) {
    const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(quantized));
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), values);
    const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    const __m128i low = _mm256_castsi256_si128(fours), high = _mm256_extracti128_si256(fours, 1);
    const __m128i eights = _mm_hadd_epi32(low, high);
    const __m128i halves = _mm_hadd_epi32(eights, eights);
    return {_mm_cvtsi128_si32(halves), _mm_extract_epi32(halves, 1)};
  }

  template <Codes kCodes, ScaleKind kKind, int kRows>
  static void quantized_tile(const TileLayout& layout, const std::uint8_t* tile,
                             const InputGroup* input, float* out, std::ptrdiff_t stride) {
    __m512 sums[kRows];
#pragma GCC unroll 16
    for (int b = 0; b < kRows; ++b) sums[b] = _mm512_setzero_ps();
    const std::size_t block_bytes = layout.block_bytes();
    const __m512i table = load_table<kCodes>(layout);
    for (int left = layout.groups; left > 0; left -= layout.groups_per_block) {
      const BlockScales<kCodes, kKind> scales(tile, layout);
      const std::uint8_t* codes = tile + header_bytes(kKind);
      const int count = left < layout.groups_per_block ? left : layout.groups_per_block;
      for (int g = 0; g < count; ++g, input += kRows, codes += group_bytes(kCodes)) {
        accumulate_group<kCodes, kKind, kRows>(codes, table, scales.group(g), input, sums);
      }
      tile += block_bytes;
    }
#pragma GCC unroll 16
    for (int b = 0; b < kRows; ++b) _mm512_storeu_ps(out + b * stride, sums[b]);
  }

  // Four partial sums a row, by column modulo 4, hide the latency of the multiply-add.
  template <Encoding kFloats, int kRows>
  static void float_tile(int columns, const std::uint8_t* tile, const float* values,
                         std::ptrdiff_t value_stride, float* out, std::ptrdiff_t stride) {
    __m512 sums[kRows][4];
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sums[b][i] = _mm512_setzero_ps();
    }
    for (int c = 0; c < columns; c += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m512 weights = load_floats<kFloats>(tile, c + i);
#pragma GCC unroll 4
        for (int b = 0; b < kRows; ++b) {
          const __m512 value = _mm512_set1_ps(values[b * value_stride + c + i]);
          sums[b][i] = _mm512_fmadd_ps(weights, value, sums[b][i]);
        }
      }
    }
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) {
      const __m512 even = _mm512_add_ps(sums[b][0], sums[b][1]);
      const __m512 odd = _mm512_add_ps(sums[b][2], sums[b][3]);
      _mm512_storeu_ps(out + b * stride, _mm512_add_ps(even, odd));
    }
  }
};

// kernels.h says what it computes.
void quantize(const float* values, int columns, std::int8_t* quantized, float* scales,
              float* sums) {
  for (int g = 0; g < columns / kGroupColumns; ++g) {
    const __m512 low = _mm512_loadu_ps(values + g * kGroupColumns);
    const __m512 high = _mm512_loadu_ps(values + g * kGroupColumns + 16);
    const float maximum =
        _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
    const QuantizeFactors factors = quantize_factors(maximum);
    const __m512 inverse = _mm512_set1_ps(factors.inverse);
    const __m512i low_codes = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
    const __m512i high_codes = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
    auto* to = reinterpret_cast<__m128i*>(quantized + g * kGroupColumns);
    _mm_storeu_si128(to, _mm512_cvtsepi32_epi8(low_codes));
    _mm_storeu_si128(to + 1, _mm512_cvtsepi32_epi8(high_codes));
    scales[g] = factors.scale;
    const int sum = _mm512_reduce_add_epi32(_mm512_add_epi32(low_codes, high_codes));
    sums[g] = factors.scale * static_cast<float>(sum);
  }
}

}  // namespace

constinit const Kernels kAvx512VnniKernels = {
    .name = "avx512_vnni",
    .pack = pack,
    .allocate = allocate_packed,
    .pack_tiles = pack_tiles,
    .prepare = KernelDriver<Avx512Vnni>::prepare,
    .multiply = KernelDriver<Avx512Vnni>::multiply,
    .decode_row = decode_row,
    .quantize = quantize,
};

}  // namespace mlxd::cpu
