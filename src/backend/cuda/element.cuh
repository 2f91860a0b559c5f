// Numbers of 16 bits, and the one kind of matrix product that all kernels are made of.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/kernels.h"

namespace mlxd::cuda_backend {

template <class T>
struct Of;

template <>
struct Of<__half> {
  using Pair = __half2;
  // What turns a small integer in the low bits into a number: 1024 + q.
  static constexpr std::uint32_t kMagic = 0x64006400;
  // A half ends at 65504; what is larger stays there instead of becoming infinite. What is no
  // number stays none, which fminf would hide.
  static __device__ float bound(float v) {
    return v > 65504.f ? 65504.f : v < -65504.f ? -65504.f : v;
  }
  static __device__ __half from(float v) { return __float2half_rn(bound(v)); }
  static __device__ float to_float(__half v) { return __half2float(v); }
  static __device__ Pair pair(float a, float b) { return __floats2half2_rn(bound(a), bound(b)); }
  static __device__ float2 floats(Pair v) { return __half22float2(v); }
};

template <>
struct Of<__nv_bfloat16> {
  using Pair = __nv_bfloat162;
  static constexpr std::uint32_t kMagic = 0x43004300;  // 128 + q
  static __device__ __nv_bfloat16 from(float v) { return __float2bfloat16_rn(v); }
  static __device__ float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }
  static __device__ Pair pair(float a, float b) { return __floats2bfloat162_rn(a, b); }
  static __device__ float2 floats(Pair v) { return __bfloat1622float2(v); }
};

template <class To, class From>
__device__ To bits_as(From v) {
  static_assert(sizeof(To) == sizeof(From));
  return *reinterpret_cast<To*>(&v);
}

template <class T>
__device__ std::uint32_t pack(float a, float b) {
  return bits_as<std::uint32_t>(Of<T>::pair(a, b));
}

// d [16, 8] += a [16, 16] b [16, 8]. A column of d depends on that of b alone.
template <class T>
__device__ void mma(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                    std::uint32_t a3, std::uint32_t b0, std::uint32_t b1);

template <>
__device__ inline void mma<__half>(float (&d)[4], std::uint32_t a0, std::uint32_t a1,
                                   std::uint32_t a2, std::uint32_t a3, std::uint32_t b0,
                                   std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

template <>
__device__ inline void mma<__nv_bfloat16>(float (&d)[4], std::uint32_t a0, std::uint32_t a1,
                                          std::uint32_t a2, std::uint32_t a3, std::uint32_t b0,
                                          std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

}  // namespace mlxd::cuda_backend
