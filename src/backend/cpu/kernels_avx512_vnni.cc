// AVX-512 with VNNI: one vpdpbusd advances the 16 rows of a tile by four columns.
#include <immintrin.h>

#include "backend/cpu/avx512_codes.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/kernel_driver.h"

namespace mlxd::cpu {
namespace {

constexpr int kPrefetchBytes = 4096;  // measured: from 2 KiB on it makes no difference

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

constexpr Kernels kernels_with(std::string_view name, const PromptKernels* prompts) {
  return {
      .name = name,
      .pack = pack,
      .allocate = allocate_packed,
      .pack_tiles = pack_tiles,
      .prepare = KernelDriver<Avx512Vnni>::prepare,
      .multiply = KernelDriver<Avx512Vnni>::multiply,
      .decode_row = decode_row,
      .quantize = quantize,
      .prompts = prompts,
  };
}

}  // namespace

constinit const Kernels kAvx512VnniKernels = kernels_with("avx512_vnni", nullptr);
constinit const Kernels kAmxKernels = kernels_with("amx", &kAmxPrompts);
constinit const Kernels kAmxModelKernels = kernels_with("amx_model", &kAmxModelPrompts);

}  // namespace mlxd::cpu
