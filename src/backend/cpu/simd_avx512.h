// Sixteen floats in one AVX-512 register; simd_portable.h says what each function does.
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace mlxd::cpu {
namespace {

struct Simd {
  static constexpr int kMaxTiles = 4;
  static constexpr int kMaxQueries = 6;
  static constexpr int kMaxChunks = 4;

  __m512 v;

  static Simd set(float value) { return {_mm512_set1_ps(value)}; }
  static Simd load(const float* from) { return {_mm512_loadu_ps(from)}; }
  static Simd load_half(const std::uint16_t* from) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
  }
  static Simd load_int8(const std::int8_t* from) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
  }
  void store(float* to) const { _mm512_storeu_ps(to, v); }
  void store_half(std::uint16_t* to) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static Simd fma(Simd a, Simd b, Simd c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static Simd min(Simd a, Simd b) { return {_mm512_min_ps(a.v, b.v)}; }
  static Simd max(Simd a, Simd b) { return {_mm512_max_ps(a.v, b.v)}; }
  Simd rounded() const {
    return {_mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  Simd scaled_by_power(Simd n) const { return {_mm512_scalef_ps(v, n.v)}; }
  Simd keep(int first, int end, Simd fill) const {
    const std::uint32_t below_end = end <= 0 ? 0 : end >= 16 ? 0xffff : (1u << end) - 1;
    const std::uint32_t below_first = first <= 0 ? 0 : first >= 16 ? 0xffff : (1u << first) - 1;
    return {_mm512_mask_mov_ps(fill.v, static_cast<__mmask16>(below_end & ~below_first), v)};
  }
  float sum() const { return _mm512_reduce_add_ps(v); }
  float highest() const { return _mm512_reduce_max_ps(v); }
  friend Simd operator+(Simd a, Simd b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Simd operator-(Simd a, Simd b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Simd operator*(Simd a, Simd b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Simd operator/(Simd a, Simd b) { return {_mm512_div_ps(a.v, b.v)}; }
};

}  // namespace
}  // namespace mlxd::cpu
