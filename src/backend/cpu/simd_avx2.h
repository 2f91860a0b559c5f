// Sixteen floats in two AVX registers; simd_portable.h says what each function does.
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace mlxd::cpu {
namespace {

struct Simd {
  static constexpr int kMaxTiles = 1;
  static constexpr int kMaxQueries = 4;
  static constexpr int kMaxChunks = 1;

  __m256 a, b;

  static Simd set(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static Simd load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  static Simd load_half(const std::uint16_t* from) {
    const auto* halves = reinterpret_cast<const __m128i*>(from);
    return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
  }
  static Simd load_int8(const std::int8_t* from) {
    const __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
    const __m128i high = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 8));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high))};
  }
  void store(float* to) const {
    _mm256_storeu_ps(to, a);
    _mm256_storeu_ps(to + 8, b);
  }
  void store_half(std::uint16_t* to) const {
    constexpr int kRound = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    auto* halves = reinterpret_cast<__m128i*>(to);
    _mm_storeu_si128(halves, _mm256_cvtps_ph(a, kRound));
    _mm_storeu_si128(halves + 1, _mm256_cvtps_ph(b, kRound));
  }
  static Simd fma(Simd x, Simd y, Simd z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  static Simd min(Simd x, Simd y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
  static Simd max(Simd x, Simd y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  Simd rounded() const {
    constexpr int kRound = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a, kRound), _mm256_round_ps(b, kRound)};
  }
  Simd scaled_by_power(Simd n) const { return {scaled_by_power(a, n.a), scaled_by_power(b, n.b)}; }
  Simd keep(int first, int end, Simd fill) const {
    const __m256i low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i high = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
    return {keep(a, low, first, end, fill.a), keep(b, high, first, end, fill.b)};
  }
  float sum() const {
    const __m256 eight = _mm256_add_ps(a, b);
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
  float highest() const {
    const __m256 eight = _mm256_max_ps(a, b);
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
  }
  friend Simd operator+(Simd x, Simd y) {
    return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
  }
  friend Simd operator-(Simd x, Simd y) {
    return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
  }
  friend Simd operator*(Simd x, Simd y) {
    return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
  }
  friend Simd operator/(Simd x, Simd y) {
    return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
  }

 private:
  static __m256 scaled_by_power(__m256 x, __m256 n) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
  }
  static __m256 keep(__m256 x, __m256i index, int first, int end, __m256 fill) {
    const __m256i not_below = _mm256_cmpgt_epi32(index, _mm256_set1_epi32(first - 1));
    const __m256i below_end = _mm256_cmpgt_epi32(_mm256_set1_epi32(end), index);
    return _mm256_blendv_ps(fill, x, _mm256_castsi256_ps(_mm256_and_si256(not_below, below_end)));
  }
};

}  // namespace
}  // namespace mlxd::cpu
