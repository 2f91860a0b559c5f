// AVX2 with FMA and F16C. A tile is done as two halves of 8 rows. vpmaddubsw adds pairs of products
// in 16 bits, so that as many steps are added there as cannot overflow, then widened.
#include <immintrin.h>

#include "backend/cpu/isa.h"
#include "backend/cpu/kernel_driver.h"

namespace mlxd::cpu {
namespace {

constexpr int kSteps = 8;  // of four columns, in a group
constexpr int kHalfRows = kTileRows / 2;
constexpr int kPrefetchBytes = 4096;

// How many steps fit into 16 bits: each adds at most 2 * 128 * (greatest code).
constexpr int steps_in_16_bits(int bits) {
  return bits == 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
}

// All helpers are inlined by force: arrays of registers are passed by reference.

[[gnu::always_inline]] inline __m256 load_halves(const std::uint8_t* from) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(from)));
}

[[gnu::always_inline]] inline __m256 load_bfloats(const std::uint8_t* from) {
  const __m128i bits = _mm_load_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

[[gnu::always_inline]] inline __m256 load_unsigned_bytes(const std::uint8_t* from) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}

[[gnu::always_inline]] inline __m256 load_signed_bytes(const std::uint8_t* from) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

// The scales of 8 rows for one group; `second` is the minimum, or the second half group's scale.
struct GroupScales {
  __m256 first;
  __m256 second;
};

template <int kBits, ScaleKind kKind>
[[gnu::always_inline]] inline GroupScales load_scales(const std::uint8_t* header, int g, int half,
                                                      bool bfloat16) {
  const std::uint8_t* f16 = header + 16 * half;
  const std::uint8_t* levels = header + 64 + kHalfRows * half;
  if constexpr (kKind == ScaleKind::scale) {
    return {load_halves(f16 + 32 * g), _mm256_setzero_ps()};
  } else if constexpr (kKind == ScaleKind::scale_and_min) {
    const __m256 scale = bfloat16 ? load_bfloats(f16) : load_halves(f16);
    __m256 min = bfloat16 ? load_bfloats(f16 + 32) : load_halves(f16 + 32);
    if constexpr (zero_point(kBits, kKind) != 0) {
      min = _mm256_fmadd_ps(scale, _mm256_set1_ps(zero_point(kBits, kKind)), min);
    }
    return {scale, min};
  } else if constexpr (kKind == ScaleKind::k_scale_and_min) {
    const __m256 dmin = _mm256_sub_ps(_mm256_setzero_ps(), load_halves(f16 + 32));
    return {_mm256_mul_ps(load_halves(f16), load_unsigned_bytes(levels + 16 * g)),
            _mm256_mul_ps(dmin, load_unsigned_bytes(levels + 128 + 16 * g))};
  } else {
    const __m256 d = _mm256_load_ps(reinterpret_cast<const float*>(header) + kHalfRows * half);
    return {_mm256_mul_ps(d, load_signed_bytes(levels + 32 * g)),
            _mm256_mul_ps(d, load_signed_bytes(levels + 32 * g + 16))};
  }
}

[[gnu::always_inline]] inline __m256i load_plane(const std::uint8_t* group, int plane, int half) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(group + 64 * plane + 32 * half));
}

// The codes of step k for 8 rows; those of 8 bits as signed numbers, less the zero point.
template <int kBits>
[[gnu::always_inline]] inline __m256i load_codes(const std::uint8_t* group, int k, int half) {
  if constexpr (kBits == 8) {
    return _mm256_xor_si256(load_plane(group, k, half), _mm256_set1_epi8(-128));
  }
  const __m256i pair = load_plane(group, k / 2, half);
  __m256i code =
      _mm256_and_si256(k % 2 == 0 ? pair : _mm256_srli_epi16(pair, 4), _mm256_set1_epi8(15));
  if constexpr (kBits == 5 || kBits == 6) {
    // Moves the step's high bits to bit 4 and up.
    const __m256i plane = load_plane(group, kBits == 5 ? 4 : 4 + k / 4, half);
    const int at = kBits == 5 ? k : k % 4 * 2;
    const __m256i moved =
        at < 4 ? _mm256_slli_epi16(plane, 4 - at) : _mm256_srli_epi16(plane, at - 4);
    const __m256i mask = _mm256_set1_epi8(kBits == 5 ? 16 : 48);
    code = _mm256_or_si256(code, _mm256_and_si256(moved, mask));
  }
  return code;
}

[[gnu::always_inline]] inline __m256i broadcast_step(const InputGroup& input, int step) {
  int four;
  __builtin_memcpy(&four, input.quantized + 4 * step, sizeof four);
  return _mm256_set1_epi32(four);
}

// Sums of pairs of products, in 16 bits.
template <int kBits>
[[gnu::always_inline]] inline __m256i pair_products(__m256i codes, __m256i input) {
  if constexpr (kBits == 8) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(input, codes));
  }
  return _mm256_maddubs_epi16(codes, input);
}

// dots[b] += the products of steps [kFirst, kEnd).
template <int kBits, int kFirst, int kEnd, int kRows>
[[gnu::always_inline]] inline void dot(const std::uint8_t* group, int half, const InputGroup* input,
                                       __m256i (&dots)[kRows]) {
  constexpr int kTogether = steps_in_16_bits(kBits);
  constexpr int kEndTogether = kFirst + kTogether < kEnd ? kFirst + kTogether : kEnd;
  __m256i pairs[kRows];
#pragma GCC unroll 8
  for (int k = kFirst; k < kEndTogether; ++k) {
    const __m256i codes = load_codes<kBits>(group, k, half);
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) {
      const __m256i products = pair_products<kBits>(codes, broadcast_step(input[b], k));
      pairs[b] = k == kFirst ? products : _mm256_add_epi16(pairs[b], products);
    }
  }
#pragma GCC unroll 4
  for (int b = 0; b < kRows; ++b) {
    dots[b] = _mm256_add_epi32(dots[b], _mm256_madd_epi16(pairs[b], _mm256_set1_epi16(1)));
  }
  if constexpr (kEndTogether < kEnd) {
    dot<kBits, kEndTogether, kEnd, kRows>(group, half, input, dots);
  }
}

template <bool kBias, int kRows>
[[gnu::always_inline]] inline void start(const InputGroup* input, int which,
                                         __m256i (&dots)[kRows]) {
#pragma GCC unroll 4
  for (int b = 0; b < kRows; ++b) {
    dots[b] = kBias ? _mm256_set1_epi32(input[b].bias[which]) : _mm256_setzero_si256();
  }
}

template <int kBits, ScaleKind kKind, int kRows>
[[gnu::always_inline]] inline void accumulate(const std::uint8_t* group, int half,
                                              const GroupScales& scales, const InputGroup* input,
                                              __m256 (&sums)[kRows]) {
  constexpr bool kHalves = kKind == ScaleKind::k_half_scale;
  constexpr bool kMin = kKind == ScaleKind::scale_and_min || kKind == ScaleKind::k_scale_and_min;
  constexpr bool kBias = zero_point(kBits, kKind) != 0 && kBits != 8;
  __m256i dots[kRows];
  __m256 scaled[kRows];
  start<kBias>(input, 0, dots);
  dot<kBits, 0, kHalves ? kSteps / 2 : kSteps, kRows>(group, half, input, dots);
#pragma GCC unroll 4
  for (int b = 0; b < kRows; ++b) {
    scaled[b] = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[b]), scales.first);
  }
  if constexpr (kHalves) {
    start<kBias>(input, 1, dots);
    dot<kBits, kSteps / 2, kSteps, kRows>(group, half, input, dots);
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) {
      scaled[b] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[b]), scales.second, scaled[b]);
    }
  }
#pragma GCC unroll 4
  for (int b = 0; b < kRows; ++b) {
    sums[b] = _mm256_fmadd_ps(scaled[b], _mm256_set1_ps(input[b].scale), sums[b]);
    if constexpr (kMin) {
      sums[b] = _mm256_fmadd_ps(scales.second, _mm256_set1_ps(input[b].sum), sums[b]);
    }
  }
}

template <int kBits>
[[gnu::always_inline]] inline void prefetch(const std::uint8_t* group) {
  constexpr int kBytes = group_bytes(kBits);
#pragma GCC unroll 8
  for (int line = 0; line < kBytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(group) + kPrefetchBytes + line, _MM_HINT_T0);
  }
}

template <Encoding kFloats>
[[gnu::always_inline]] inline __m256 load_floats(const std::uint8_t* tile, int column, int half) {
  const int index = column * kTileRows + half * kHalfRows;
  if constexpr (kFloats == Encoding::f32) {
    return _mm256_load_ps(reinterpret_cast<const float*>(tile) + index);
  }
  if constexpr (kFloats == Encoding::f16) return load_halves(tile + 2 * index);
  return load_bfloats(tile + 2 * index);
}

struct Avx2 {
  static constexpr int kRowBlocks[] = {4, 3, 2, 1};
  static constexpr int kFloatRowBlocks[] = {2, 1};

  static HalfSums half_sums(const std::int8_t* quantized) {
    const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(quantized));
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), values);
    const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    const __m128i low = _mm256_castsi256_si128(fours), high = _mm256_extracti128_si256(fours, 1);
    const __m128i eights = _mm_hadd_epi32(low, high);
    const __m128i halves = _mm_hadd_epi32(eights, eights);
    return {_mm_cvtsi128_si32(halves), _mm_extract_epi32(halves, 1)};
  }

  template <int kBits, ScaleKind kKind, int kRows>
  static void quantized_tile(const TileLayout& layout, const std::uint8_t* tile,
                             const InputGroup* input, float* out, std::ptrdiff_t stride) {
    half_tile<kBits, kKind, kRows, 0>(layout, tile, input, out, stride);
    half_tile<kBits, kKind, kRows, 1>(layout, tile, input, out + kHalfRows, stride);
  }

  // The second half finds the tile in cache.
  template <int kBits, ScaleKind kKind, int kRows, int kHalf>
  static void half_tile(const TileLayout& layout, const std::uint8_t* tile, const InputGroup* input,
                        float* out, std::ptrdiff_t stride) {
    const std::size_t block_bytes = layout.block_bytes();
    __m256 sums[kRows];
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) sums[b] = _mm256_setzero_ps();
    for (int left = layout.groups; left > 0; left -= layout.groups_per_block) {
      const std::uint8_t* group = tile + header_bytes(kKind);
      const int count = left < layout.groups_per_block ? left : layout.groups_per_block;
      for (int g = 0; g < count; ++g, input += kRows, group += group_bytes(kBits)) {
        if constexpr (kHalf == 0) prefetch<kBits>(group);
        const GroupScales scales =
            load_scales<kBits, kKind>(tile, g, kHalf, layout.bfloat16_scales);
        accumulate<kBits, kKind, kRows>(group, kHalf, scales, input, sums);
      }
      tile += block_bytes;
    }
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) _mm256_storeu_ps(out + b * stride, sums[b]);
  }

  template <Encoding kFloats, int kRows>
  static void float_tile(int columns, const std::uint8_t* tile, const float* values,
                         std::ptrdiff_t value_stride, float* out, std::ptrdiff_t stride) {
    float_half_tile<kFloats, kRows, 0>(columns, tile, values, value_stride, out, stride);
    float_half_tile<kFloats, kRows, 1>(columns, tile, values, value_stride, out + kHalfRows,
                                       stride);
  }

  // Four partial sums a row, by column modulo 4, hide the latency of the multiply-add.
  template <Encoding kFloats, int kRows, int kHalf>
  static void float_half_tile(int columns, const std::uint8_t* tile, const float* values,
                              std::ptrdiff_t value_stride, float* out, std::ptrdiff_t stride) {
    __m256 sums[kRows][4];
#pragma GCC unroll 2
    for (int b = 0; b < kRows; ++b) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sums[b][i] = _mm256_setzero_ps();
    }
    for (int c = 0; c < columns; c += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m256 weights = load_floats<kFloats>(tile, c + i, kHalf);
#pragma GCC unroll 2
        for (int b = 0; b < kRows; ++b) {
          const __m256 value = _mm256_set1_ps(values[b * value_stride + c + i]);
          sums[b][i] = _mm256_fmadd_ps(weights, value, sums[b][i]);
        }
      }
    }
#pragma GCC unroll 2
    for (int b = 0; b < kRows; ++b) {
      const __m256 first = _mm256_add_ps(sums[b][0], sums[b][1]);
      const __m256 second = _mm256_add_ps(sums[b][2], sums[b][3]);
      _mm256_storeu_ps(out + b * stride, _mm256_add_ps(first, second));
    }
  }
};

float greatest(__m256 values) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps(values, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

int sum_of(__m256i values) {
  const __m128i four =
      _mm_add_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
  const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}

void quantize(const float* values, int columns, std::int8_t* quantized, float* scales,
              float* sums) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  // Packing interleaves the 128-bit lanes; this puts the groups of 4 bytes back in order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (int g = 0; g < columns / kGroupColumns; ++g) {
    __m256 parts[4];
    __m256 maximum = _mm256_setzero_ps();
    for (int i = 0; i < 4; ++i) {
      parts[i] = _mm256_loadu_ps(values + g * kGroupColumns + 8 * i);
      maximum = _mm256_max_ps(maximum, _mm256_and_ps(parts[i], magnitude));
    }
    const QuantizeFactors factors = quantize_factors(greatest(maximum));
    const __m256 inverse = _mm256_set1_ps(factors.inverse);
    __m256i codes[4];
    for (int i = 0; i < 4; ++i) codes[i] = _mm256_cvtps_epi32(_mm256_mul_ps(parts[i], inverse));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(codes[0], codes[1]),
                                         _mm256_add_epi32(codes[2], codes[3]));
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(codes[0], codes[1]),
                                             _mm256_packs_epi32(codes[2], codes[3]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(quantized + g * kGroupColumns),
                        _mm256_permutevar8x32_epi32(bytes, order));
    scales[g] = factors.scale;
    sums[g] = factors.scale * static_cast<float>(sum_of(sum));
  }
}

}  // namespace

constinit const Kernels kAvx2Kernels = {
    .name = "avx2",
    .pack = pack,
    .allocate = allocate_packed,
    .pack_tiles = pack_tiles,
    .prepare = KernelDriver<Avx2>::prepare,
    .multiply = KernelDriver<Avx2>::multiply,
    .decode_row = decode_row,
    .quantize = quantize,
};

}  // namespace mlxd::cpu
