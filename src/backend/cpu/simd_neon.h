// Sixteen floats in four NEON registers; simd_portable.h says what each function does.
#pragma once

#include <cstdint>

#include <arm_neon.h>

namespace mlxd::cpu {
namespace {

struct Simd {
  // Of 32 registers a block of 6 queries takes 24, the keys or values of a tile 4.
  static constexpr int kMaxTiles = 1;
  static constexpr int kMaxQueries = 6;
  static constexpr int kMaxChunks = 1;

  float32x4_t a, b, c, d;

  static Simd set(float value) {
    const float32x4_t all = vdupq_n_f32(value);
    return {all, all, all, all};
  }
  static Simd load(const float* from) {
    return {vld1q_f32(from), vld1q_f32(from + 4), vld1q_f32(from + 8), vld1q_f32(from + 12)};
  }
  static Simd load_half(const std::uint16_t* from) {
    const float16x8_t low = vreinterpretq_f16_u16(vld1q_u16(from));
    const float16x8_t high = vreinterpretq_f16_u16(vld1q_u16(from + 8));
    return {vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low),
            vcvt_f32_f16(vget_low_f16(high)), vcvt_high_f32_f16(high)};
  }
  static Simd load_int8(const std::int8_t* from) {
    const int8x16_t bytes = vld1q_s8(from);
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
    return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))};
  }
  void store(float* to) const {
    vst1q_f32(to, a);
    vst1q_f32(to + 4, b);
    vst1q_f32(to + 8, c);
    vst1q_f32(to + 12, d);
  }
  void store_half(std::uint16_t* to) const {
    vst1q_u16(to, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a), b)));
    vst1q_u16(to + 8, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(c), d)));
  }
  static Simd fma(Simd x, Simd y, Simd z) {
    return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c),
            vfmaq_f32(z.d, x.d, y.d)};
  }
  // Of a number and none, the number.
  static Simd min(Simd x, Simd y) {
    return {vminnmq_f32(x.a, y.a), vminnmq_f32(x.b, y.b), vminnmq_f32(x.c, y.c),
            vminnmq_f32(x.d, y.d)};
  }
  static Simd max(Simd x, Simd y) {
    return {vmaxnmq_f32(x.a, y.a), vmaxnmq_f32(x.b, y.b), vmaxnmq_f32(x.c, y.c),
            vmaxnmq_f32(x.d, y.d)};
  }
  Simd rounded() const { return {vrndnq_f32(a), vrndnq_f32(b), vrndnq_f32(c), vrndnq_f32(d)}; }
  Simd scaled_by_power(Simd n) const {
    return {scaled_by_power(a, n.a), scaled_by_power(b, n.b), scaled_by_power(c, n.c),
            scaled_by_power(d, n.d)};
  }
  Simd keep(int first, int end, Simd fill) const {
    return {keep(a, first, end, fill.a), keep(b, first - 4, end - 4, fill.b),
            keep(c, first - 8, end - 8, fill.c), keep(d, first - 12, end - 12, fill.d)};
  }
  float sum() const {
    const float32x4_t four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
    return vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)));
  }
  float highest() const { return vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(a, b), vmaxnmq_f32(c, d))); }
  friend Simd operator+(Simd x, Simd y) {
    return {vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b), vaddq_f32(x.c, y.c), vaddq_f32(x.d, y.d)};
  }
  friend Simd operator-(Simd x, Simd y) {
    return {vsubq_f32(x.a, y.a), vsubq_f32(x.b, y.b), vsubq_f32(x.c, y.c), vsubq_f32(x.d, y.d)};
  }
  friend Simd operator*(Simd x, Simd y) {
    return {vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b), vmulq_f32(x.c, y.c), vmulq_f32(x.d, y.d)};
  }
  friend Simd operator/(Simd x, Simd y) {
    return {vdivq_f32(x.a, y.a), vdivq_f32(x.b, y.b), vdivq_f32(x.c, y.c), vdivq_f32(x.d, y.d)};
  }

 private:
  static float32x4_t scaled_by_power(float32x4_t x, float32x4_t n) {
    const int32x4_t exponent = vshlq_n_s32(vcvtq_s32_f32(n), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), exponent));
  }
  static float32x4_t keep(float32x4_t x, int first, int end, float32x4_t fill) {
    const std::int32_t lanes[] = {0, 1, 2, 3};
    const int32x4_t index = vld1q_s32(lanes);
    const uint32x4_t kept =
        vandq_u32(vcgeq_s32(index, vdupq_n_s32(first)), vcltq_s32(index, vdupq_n_s32(end)));
    return vbslq_f32(kept, x, fill);
  }
};

}  // namespace
}  // namespace mlxd::cpu
