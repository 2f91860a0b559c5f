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

// How many steps fit into 16 bits: each adds at most 2 * 127 * (greatest code).
constexpr int steps_in_16_bits(Codes codes) {
  switch (codes) {
    case Codes::bits5:
    case Codes::small_table4:
      return 4;
    case Codes::bits6:
      return 2;
    case Codes::bits8:
    case Codes::table3:
    case Codes::table4:
      return 1;
    default:
      return 8;
  }
}

// Codes that are signed numbers here, as 8 unsigned bits would overflow.
constexpr bool is_signed(Codes codes) {
  return codes == Codes::bits8 || codes == Codes::table3 || codes == Codes::table4;
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

// 2^(exponent - 128) of 8 bytes; the exponent alone would say 0 for 2^-127.
[[gnu::always_inline]] inline __m256 load_exponents(const std::uint8_t* from) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  const __m256i bits = _mm256_slli_epi32(_mm256_cvtepu8_epi32(bytes), 23);
  const __m256i least = _mm256_max_epi32(bits, _mm256_set1_epi32(1 << 22));
  return _mm256_mul_ps(_mm256_castsi256_ps(least), _mm256_set1_ps(0.5f));
}

// Half of 8 E4M3 numbers without sign, times the tensor's scale: at their places in a float they
// lack only the bias.
[[gnu::always_inline]] inline __m256 load_e4m3(const std::uint8_t* from, float tensor_scale) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  const __m256i bits = _mm256_slli_epi32(_mm256_cvtepu8_epi32(bytes), 20);
  return _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0x1p119f * tensor_scale));
}

// The scales of 8 rows for one group; `second` is the minimum, or the second half group's scale;
// with halves and minima both, these are in the last two.
struct GroupScales {
  __m256 first;
  __m256 second;
  __m256 first_min;
  __m256 second_min;
};

template <Codes kCodes, ScaleKind kKind>
[[gnu::always_inline]] inline GroupScales load_scales(const std::uint8_t* header, int g, int half,
                                                      const TileLayout& layout) {
  const __m256 none = _mm256_setzero_ps();
  const std::uint8_t* f16 = header + 16 * half;
  const std::uint8_t* levels = header + 64 + kHalfRows * half;
  if constexpr (kKind == ScaleKind::scale) {
    return {load_halves(f16 + 32 * (g >> layout.scale_shift)), none, none, none};
  } else if constexpr (kKind == ScaleKind::scale_and_min) {
    const bool bfloat16 = layout.bfloat16_scales;
    const __m256 scale = bfloat16 ? load_bfloats(f16) : load_halves(f16);
    __m256 min = bfloat16 ? load_bfloats(f16 + 32) : load_halves(f16 + 32);
    if constexpr (zero_point(kCodes, kKind) != 0) {
      min = _mm256_fmadd_ps(scale, _mm256_set1_ps(zero_point(kCodes, kKind)), min);
    }
    return {scale, min, none, none};
  } else if constexpr (kKind == ScaleKind::k_scale_and_min) {
    const __m256 dmin = _mm256_sub_ps(_mm256_setzero_ps(), load_halves(f16 + 32));
    return {_mm256_mul_ps(load_halves(f16), load_unsigned_bytes(levels + 16 * g)),
            _mm256_mul_ps(dmin, load_unsigned_bytes(levels + 128 + 16 * g)), none, none};
  } else if constexpr (kKind == ScaleKind::exponent) {
    return {load_exponents(header + kHalfRows * half + 16 * g), none, none, none};
  } else if constexpr (kKind == ScaleKind::half_e4m3) {
    const std::uint8_t* bytes = header + kHalfRows * half + 32 * g;
    return {load_e4m3(bytes, layout.tensor_scale), load_e4m3(bytes + 16, layout.tensor_scale), none,
            none};
  } else if constexpr (kKind == ScaleKind::k_half_scale_and_min) {
    const __m256 d = load_halves(f16);
    const __m256 dmin = _mm256_sub_ps(_mm256_setzero_ps(), load_halves(f16 + 32));
    const auto pairs = [levels, g](int offset) {
      const auto* from = reinterpret_cast<const __m128i*>(levels + 32 * g + offset);
      return _mm256_cvtepu8_epi32(_mm_loadl_epi64(from));
    };
    const auto low = [](__m256i pair) {
      return _mm256_cvtepi32_ps(_mm256_and_si256(pair, _mm256_set1_epi32(15)));
    };
    const auto high = [](__m256i pair) { return _mm256_cvtepi32_ps(_mm256_srli_epi32(pair, 4)); };
    const __m256i first = pairs(0), second = pairs(16);
    return {_mm256_mul_ps(d, low(first)), _mm256_mul_ps(d, low(second)),
            _mm256_mul_ps(dmin, high(first)), _mm256_mul_ps(dmin, high(second))};
  } else {
    const __m256 d = _mm256_load_ps(reinterpret_cast<const float*>(header) + kHalfRows * half);
    if constexpr (kKind == ScaleKind::k_scale) {
      return {_mm256_mul_ps(d, load_signed_bytes(levels + 16 * g)), none, none, none};
    }
    return {_mm256_mul_ps(d, load_signed_bytes(levels + 32 * g)),
            _mm256_mul_ps(d, load_signed_bytes(levels + 32 * g + 16)), none, none};
  }
}

[[gnu::always_inline]] inline __m256i load_plane(const std::uint8_t* group, int plane, int half) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(group + 64 * plane + 32 * half));
}

// Bits kFrom and up of every byte moved to bit kTo, all others than those of `mask` cleared.
template <int kFrom, int kTo>
[[gnu::always_inline]] inline __m256i move_bits(__m256i bytes, int mask) {
  if constexpr (kFrom > kTo) bytes = _mm256_srli_epi16(bytes, kFrom - kTo);
  if constexpr (kFrom < kTo) bytes = _mm256_slli_epi16(bytes, kTo - kFrom);
  return _mm256_and_si256(bytes, _mm256_set1_epi8(static_cast<char>(mask)));
}

// The numbers that codes stand for, in both halves of a register: signed, or with the zero point.
template <Codes kCodes>
[[gnu::always_inline]] inline __m256i load_table(const TileLayout& layout) {
  if constexpr (!has_table(kCodes)) return _mm256_setzero_si256();
  const auto* from = reinterpret_cast<const __m128i*>(layout.table.data());
  const __m256i table = _mm256_broadcastsi128_si256(_mm_load_si128(from));
  if constexpr (is_signed(kCodes)) return table;
  return _mm256_add_epi8(table, _mm256_set1_epi8(zero_point(kCodes, ScaleKind::scale)));
}

// The numbers of step k for 8 rows; signed ones less the zero point.
template <Codes kCodes, int kStep>
[[gnu::always_inline]] inline __m256i load_codes(const std::uint8_t* group, int half,
                                                 __m256i table) {
  constexpr int kBits = code_bits(kCodes);
  constexpr int kPair = kStep % 4 * 2;
  if constexpr (kBits == 8) {
    return _mm256_xor_si256(load_plane(group, kStep, half), _mm256_set1_epi8(-128));
  }
  __m256i code;
  if constexpr (kBits == 1) {
    code = move_bits<kStep, 1>(load_plane(group, 0, half), 2);
  } else if constexpr (kBits < 4) {
    code = move_bits<kPair, 0>(load_plane(group, kStep / 4, half), 3);
  } else {
    code = move_bits<kStep % 2 * 4, 0>(load_plane(group, kStep / 2, half), 15);
  }
  if constexpr (kBits == 3) {
    code = _mm256_or_si256(code, move_bits<kStep, 2>(load_plane(group, 2, half), 4));
  } else if constexpr (kBits == 5) {
    code = _mm256_or_si256(code, move_bits<kStep, 4>(load_plane(group, 4, half), 16));
  } else if constexpr (kBits == 6) {
    code = _mm256_or_si256(code, move_bits<kPair, 4>(load_plane(group, 4 + kStep / 4, half), 48));
  }
  if constexpr (has_table(kCodes)) code = _mm256_shuffle_epi8(table, code);
  return code;
}

[[gnu::always_inline]] inline __m256i broadcast_step(const InputGroup& input, int step) {
  int four;
  __builtin_memcpy(&four, input.quantized + 4 * step, sizeof four);
  return _mm256_set1_epi32(four);
}

// Sums of pairs of products, in 16 bits.
template <Codes kCodes>
[[gnu::always_inline]] inline __m256i pair_products(__m256i codes, __m256i input) {
  if constexpr (is_signed(kCodes)) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(input, codes));
  }
  return _mm256_maddubs_epi16(codes, input);
}

// pairs[b] = or += the products of steps [kStep, kEnd), which fit into 16 bits.
template <Codes kCodes, int kStep, int kEnd, bool kFirst, int kRows>
[[gnu::always_inline]] inline void add_pairs(const std::uint8_t* group, int half, __m256i table,
                                             const InputGroup* input, __m256i (&pairs)[kRows]) {
  const __m256i codes = load_codes<kCodes, kStep>(group, half, table);
#pragma GCC unroll 4
  for (int b = 0; b < kRows; ++b) {
    const __m256i products = pair_products<kCodes>(codes, broadcast_step(input[b], kStep));
    pairs[b] = kFirst ? products : _mm256_add_epi16(pairs[b], products);
  }
  if constexpr (kStep + 1 < kEnd) {
    add_pairs<kCodes, kStep + 1, kEnd, false>(group, half, table, input, pairs);
  }
}

// dots[b] += the products of steps [kFirst, kEnd).
template <Codes kCodes, int kFirst, int kEnd, int kRows>
[[gnu::always_inline]] inline void dot(const std::uint8_t* group, int half, __m256i table,
                                       const InputGroup* input, __m256i (&dots)[kRows]) {
  constexpr int kTogether = steps_in_16_bits(kCodes);
  constexpr int kEndTogether = kFirst + kTogether < kEnd ? kFirst + kTogether : kEnd;
  __m256i pairs[kRows];
  add_pairs<kCodes, kFirst, kEndTogether, true>(group, half, table, input, pairs);
#pragma GCC unroll 4
  for (int b = 0; b < kRows; ++b) {
    dots[b] = _mm256_add_epi32(dots[b], _mm256_madd_epi16(pairs[b], _mm256_set1_epi16(1)));
  }
  if constexpr (kEndTogether < kEnd) {
    dot<kCodes, kEndTogether, kEnd, kRows>(group, half, table, input, dots);
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

template <Codes kCodes, ScaleKind kKind, int kRows>
[[gnu::always_inline]] inline void accumulate(const std::uint8_t* group, int half, __m256i table,
                                              const GroupScales& scales, const InputGroup* input,
                                              __m256 (&sums)[kRows]) {
  constexpr bool kHalves = has_halves(kKind);
  constexpr bool kMin = kKind == ScaleKind::scale_and_min || kKind == ScaleKind::k_scale_and_min;
  constexpr bool kBias = bias_zero(kCodes, kKind) > 0 && !is_signed(kCodes);
  __m256i dots[kRows];
  __m256 scaled[kRows];
  start<kBias>(input, 0, dots);
  dot<kCodes, 0, kHalves ? kSteps / 2 : kSteps, kRows>(group, half, table, input, dots);
#pragma GCC unroll 4
  for (int b = 0; b < kRows; ++b) {
    scaled[b] = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[b]), scales.first);
  }
  if constexpr (kHalves) {
    start<kBias>(input, 1, dots);
    dot<kCodes, kSteps / 2, kSteps, kRows>(group, half, table, input, dots);
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) {
      scaled[b] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[b]), scales.second, scaled[b]);
      if constexpr (kKind == ScaleKind::k_half_scale_and_min) {
        float sums_of_halves[2];
        __builtin_memcpy(sums_of_halves, input[b].bias, sizeof sums_of_halves);
        scaled[b] = _mm256_fmadd_ps(_mm256_set1_ps(sums_of_halves[0]), scales.first_min, scaled[b]);
        scaled[b] =
            _mm256_fmadd_ps(_mm256_set1_ps(sums_of_halves[1]), scales.second_min, scaled[b]);
      }
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

template <Codes kCodes>
[[gnu::always_inline]] inline void prefetch(const std::uint8_t* group) {
  constexpr int kBytes = group_bytes(kCodes);
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

  template <Codes kCodes, ScaleKind kKind, int kRows>
  static void quantized_tile(const TileLayout& layout, const std::uint8_t* tile,
                             const InputGroup* input, float* out, std::ptrdiff_t stride) {
    half_tile<kCodes, kKind, kRows, 0>(layout, tile, input, out, stride);
    half_tile<kCodes, kKind, kRows, 1>(layout, tile, input, out + kHalfRows, stride);
  }

  // The second half finds the tile in cache.
  template <Codes kCodes, ScaleKind kKind, int kRows, int kHalf>
  static void half_tile(const TileLayout& layout, const std::uint8_t* tile, const InputGroup* input,
                        float* out, std::ptrdiff_t stride) {
    const std::size_t block_bytes = layout.block_bytes();
    const __m256i table = load_table<kCodes>(layout);
    __m256 sums[kRows];
#pragma GCC unroll 4
    for (int b = 0; b < kRows; ++b) sums[b] = _mm256_setzero_ps();
    for (int left = layout.groups; left > 0; left -= layout.groups_per_block) {
      const std::uint8_t* group = tile + header_bytes(kKind);
      const int count = left < layout.groups_per_block ? left : layout.groups_per_block;
      for (int g = 0; g < count; ++g, input += kRows, group += group_bytes(kCodes)) {
        if constexpr (kHalf == 0) prefetch<kCodes>(group);
        const GroupScales scales = load_scales<kCodes, kKind>(tile, g, kHalf, layout);
        accumulate<kCodes, kKind, kRows>(group, kHalf, table, scales, input, sums);
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
