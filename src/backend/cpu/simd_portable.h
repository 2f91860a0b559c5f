// Sixteen floats without any instruction set: what vector_ops_impl.h is written in. Everything is
// in an unnamed namespace, so that code compiled for one instruction set never stands in for
// another's at link time.
#pragma once

#include <cstdint>

#include "model/tensor.h"

namespace mlxd::cpu {
namespace {

struct Simd {
  static constexpr int kMaxTiles = 1;  // score vectors that a block of queries keeps in registers
  static constexpr int kMaxQueries = 2;
  static constexpr int kMaxChunks = 1;  // vectors of a head that it accumulates at a time

  float lane[16];

  static Simd set(float value) {
    Simd r;
    for (float& x : r.lane) x = value;
    return r;
  }
  static Simd load(const float* from) {
    Simd r;
    for (int i = 0; i < 16; ++i) r.lane[i] = from[i];
    return r;
  }
  static Simd load_half(const std::uint16_t* from) {
    Simd r;
    for (int i = 0; i < 16; ++i) r.lane[i] = half_to_float(from[i]);
    return r;
  }
  static Simd load_int8(const std::int8_t* from) {
    Simd r;
    for (int i = 0; i < 16; ++i) r.lane[i] = from[i];
    return r;
  }
  void store(float* to) const {
    for (int i = 0; i < 16; ++i) to[i] = lane[i];
  }
  void store_half(std::uint16_t* to) const {
    for (int i = 0; i < 16; ++i) to[i] = float_to_half(lane[i]);
  }
  template <class Function>
  static Simd map(Simd a, Simd b, Function function) {
    Simd r;
    for (int i = 0; i < 16; ++i) r.lane[i] = function(a.lane[i], b.lane[i]);
    return r;
  }
  // a * b + c
  static Simd fma(Simd a, Simd b, Simd c) { return a * b + c; }
  // The second where the first is not a number.
  static Simd min(Simd a, Simd b) {
    return map(a, b, [](float x, float y) { return x < y ? x : y; });
  }
  static Simd max(Simd a, Simd b) {
    return map(a, b, [](float x, float y) { return x > y ? x : y; });
  }
  // To the nearest whole number; for |x| < 2^22.
  Simd rounded() const {
    constexpr float kShift = 12582912;  // 1.5 * 2^23: no bits are left for a fraction
    return map(*this, *this, [](float x, float) { return (x + kShift) - kShift; });
  }
  // this * 2^n for whole n in the range of normal numbers.
  Simd scaled_by_power(Simd n) const {
    return map(*this, n, [](float x, float y) {
      const std::int32_t exponent = static_cast<std::int32_t>(y) * (1 << 23);
      return __builtin_bit_cast(float, __builtin_bit_cast(std::int32_t, x) + exponent);
    });
  }
  // Lanes [first, end) of this, the others of `fill`; first and end may lie outside 0..16.
  Simd keep(int first, int end, Simd fill) const {
    Simd r;
    for (int i = 0; i < 16; ++i) r.lane[i] = first <= i && i < end ? lane[i] : fill.lane[i];
    return r;
  }
  float sum() const {
    float s[16];
    store(s);
    for (int width = 8; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) s[i] += s[i + width];
    }
    return s[0];
  }
  float highest() const {
    float m = lane[0];
    for (float x : lane) m = x > m ? x : m;
    return m;
  }
  friend Simd operator+(Simd a, Simd b) {
    return map(a, b, [](float x, float y) { return x + y; });
  }
  friend Simd operator-(Simd a, Simd b) {
    return map(a, b, [](float x, float y) { return x - y; });
  }
  friend Simd operator*(Simd a, Simd b) {
    return map(a, b, [](float x, float y) { return x * y; });
  }
  friend Simd operator/(Simd a, Simd b) {
    return map(a, b, [](float x, float y) { return x / y; });
  }
};

}  // namespace
}  // namespace mlxd::cpu
