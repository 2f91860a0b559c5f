// From packed weights to the registers of a product's left side.
#pragma once

#include "backend/cuda/element.cuh"

namespace mlxd::cuda_backend {

template <Packing packing>
inline constexpr int kLaneChunks = packing == Packing::plain     ? 4
                                   : packing == Packing::affine8 ? 2
                                                                 : 1;

// A lane's part of a unit as it is loaded; to be loaded well before it is unpacked.
template <Packing packing>
struct LaneUnit {
  uint4 chunks[kLaneChunks<packing>];
  uint2 scales[2];  // of its two rows; narrow ones in .x
};

template <Packing packing, bool wide>
__device__ LaneUnit<packing> load_unit(const DeviceMatrix& matrix, long unit, int lane) {
  LaneUnit<packing> loaded;
  const auto* codes =
      static_cast<const uint4*>(matrix.codes) + unit * (kLanes * kLaneChunks<packing>)+lane;
#pragma unroll
  for (int i = 0; i < kLaneChunks<packing>; ++i) loaded.chunks[i] = __ldg(codes + i * kLanes);
  if constexpr (packing != Packing::plain) {
    const int runs = matrix.shape.scale_runs;
    const long first = (unit * runs + (lane % 4) * runs / 4) * kUnitRows + lane / 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if constexpr (wide) {
        loaded.scales[i] = __ldg(static_cast<const uint2*>(matrix.scales) + first + 8 * i);
      } else {
        loaded.scales[i].x =
            __ldg(static_cast<const std::uint32_t*>(matrix.scales) + first + 8 * i);
      }
    }
  }
  return loaded;
}

template <class T, bool wide>
__device__ float2 scale_and_bias(uint2 loaded) {
  if constexpr (wide) return {__uint_as_float(loaded.x), __uint_as_float(loaded.y)};
  return Of<T>::floats(bits_as<typename Of<T>::Pair>(loaded.x));
}

inline __device__ std::uint32_t word_of(const uint4& chunk, int i) {
  return i == 0 ? chunk.x : i == 1 ? chunk.y : i == 2 ? chunk.z : chunk.w;
}

// [row of the lane][pair of neighbouring columns]: scale * code + bias, rounded once.
template <class T, Packing packing, bool wide>
__device__ void unpack(const LaneUnit<packing>& unit, std::uint32_t (&out)[2][8]) {
  constexpr float kInteger = 8388608.f;  // 2^23: its low bits count ones
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    if constexpr (packing == Packing::plain) {
#pragma unroll
      for (int i = 0; i < 8; ++i) out[row][i] = word_of(unit.chunks[2 * row + i / 4], i % 4);
    } else if constexpr (packing == Packing::affine8) {
      const float2 s = scale_and_bias<T, wide>(unit.scales[row]);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const std::uint32_t word = word_of(unit.chunks[row], i / 2);
        const int first = i % 2 * 2;
        const float a = __uint_as_float(__byte_perm(word, 0x4B000000, 0x7440 + first)) - kInteger;
        const float b = __uint_as_float(__byte_perm(word, 0x4B000000, 0x7441 + first)) - kInteger;
        out[row][i] = pack<T>(fmaf(a, s.x, s.y), fmaf(b, s.x, s.y));
      }
    } else if constexpr (wide) {
      const float2 s = scale_and_bias<T, wide>(unit.scales[row]);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const std::uint32_t codes = word_of(unit.chunks[0], 2 * row + i / 4) >> (4 * (i % 4));
        const float a = __uint_as_float((codes & 15) | 0x4B000000) - kInteger;
        const float b = __uint_as_float((codes >> 16 & 15) | 0x4B000000) - kInteger;
        out[row][i] = pack<T>(fmaf(a, s.x, s.y), fmaf(b, s.x, s.y));
      }
    } else {
      using Pair = typename Of<T>::Pair;
      const Pair both = bits_as<Pair>(unit.scales[row].x);
      const Pair scale{both.x, both.x}, bias{both.y, both.y};
      const Pair zero = bits_as<Pair>(Of<T>::kMagic);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const std::uint32_t codes =
            (word_of(unit.chunks[0], 2 * row + i / 4) >> (4 * (i % 4)) & 0x000f000f) |
            Of<T>::kMagic;
        out[row][i] =
            bits_as<std::uint32_t>(__hfma2(__hsub2(bits_as<Pair>(codes), zero), scale, bias));
      }
    }
  }
}

}  // namespace mlxd::cuda_backend
