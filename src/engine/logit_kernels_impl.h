#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#include "engine/logit_kernels.h"

// Included by one source file per instruction set, each compiled with its own options: everything
// is local to the file that includes it.
namespace mlxd {
namespace {

// GCC's and Clang's vector extension, by the width of the instruction set's registers in bytes.
template <int kBytes>
struct Vectors;
template <>
struct Vectors<16> {
  typedef float Floats __attribute__((vector_size(16)));
  typedef std::int32_t Ints __attribute__((vector_size(16)));
  typedef std::uint32_t Bits __attribute__((vector_size(16)));
};
template <>
struct Vectors<32> {
  typedef float Floats __attribute__((vector_size(32)));
  typedef std::int32_t Ints __attribute__((vector_size(32)));
  typedef std::uint32_t Bits __attribute__((vector_size(32)));
};
template <>
struct Vectors<64> {
  typedef float Floats __attribute__((vector_size(64)));
  typedef std::int32_t Ints __attribute__((vector_size(64)));
  typedef std::uint32_t Bits __attribute__((vector_size(64)));
};

template <int kBytes>
struct Kernels {
  using Floats = typename Vectors<kBytes>::Floats;
  using Ints = typename Vectors<kBytes>::Ints;
  using Bits = typename Vectors<kBytes>::Bits;

  static constexpr int kWidth = kBytes / 4;
  static constexpr int kAccumulators = 16 / kWidth;  // 16 lanes, whatever the width

  static Floats load(const float* from) {
    Floats value;
    std::memcpy(&value, from, sizeof(value));
    return value;
  }

  static Floats exp2_nonpositive(Floats x) {
    const Floats shifted = x + 12582912.0f;
    const Floats f = x - (shifted - 12582912.0f);
    Floats p = Floats{} + 1.339086336e-03f;
    p = p * f + 9.676031918e-03f;
    p = p * f + 5.550357114e-02f;
    p = p * f + 2.402210749e-01f;
    p = p * f + 6.931471880e-01f;
    p = p * f + 1.0f;
    const Bits scaled = reinterpret_cast<Bits>(p) + (reinterpret_cast<Bits>(shifted) << 23);
    return reinterpret_cast<Floats>(reinterpret_cast<Bits>(x >= -126.0f) & scaled);
  }

  static float sum_of_lanes(const Floats (&lanes)[kAccumulators]) {
    float total = 0;
    for (const Floats& part : lanes) {
      for (int i = 0; i < kWidth; ++i) total += part[i];
    }
    return total;
  }

  static float largest_lane(const Floats (&lanes)[kAccumulators]) {
    float maximum = lanes[0][0];
    for (const Floats& part : lanes) {
      for (int i = 0; i < kWidth; ++i) maximum = part[i] > maximum ? part[i] : maximum;
    }
    return maximum;
  }

  static float maxima(const float* logits, int blocks, float* out) {
    Floats difference[kAccumulators] = {};
    for (int block = 0; block < blocks; ++block, logits += kLogitBlock) {
      Floats largest[kAccumulators];
      for (int a = 0; a < kAccumulators; ++a) largest[a] = load(logits + a * kWidth);
      for (int i = 0; i < kLogitBlock; i += 16) {
        for (int a = 0; a < kAccumulators; ++a) {
          const Floats x = load(logits + i + a * kWidth);
          largest[a] = x > largest[a] ? x : largest[a];
          difference[a] += x - x;
        }
      }
      out[block] = largest_lane(largest);
    }
    return sum_of_lanes(difference);
  }

  // All ones where the lane's bit is 1.
  static Ints lanes_of(std::uint32_t bits) {
    Bits lanes;
    for (int i = 0; i < kWidth; ++i) lanes[i] = std::uint32_t{1} << i;
    return reinterpret_cast<Ints>((lanes & (Bits{} + bits)) != 0);
  }

  static void mask(const float* logits, int blocks, const std::uint32_t* allowed, float* masked,
                   float* maxima) {
    const Floats nothing = Floats{} - std::numeric_limits<float>::infinity();
    for (int block = 0; block < blocks; ++block, logits += kLogitBlock, masked += kLogitBlock) {
      Floats largest[kAccumulators];
      for (Floats& part : largest) part = nothing;
      for (int i = 0; i < kLogitBlock; i += 16) {
        const std::uint32_t bits = allowed[block * 2 + i / 32] >> i % 32;
        for (int a = 0; a < kAccumulators; ++a) {
          const Ints inside = lanes_of(bits >> a * kWidth);
          const Floats x = reinterpret_cast<Floats>(
              (inside & reinterpret_cast<Ints>(load(logits + i + a * kWidth))) |
              (~inside & reinterpret_cast<Ints>(nothing)));
          std::memcpy(masked + i + a * kWidth, &x, sizeof(x));
          largest[a] = x > largest[a] ? x : largest[a];
        }
      }
      maxima[block] = largest_lane(largest);
    }
  }

  static void exponentials(const float* logits, int blocks, float maximum, float scale, float* sums,
                           float* weights) {
    for (int block = 0; block < blocks; ++block, logits += kLogitBlock) {
      Floats sum[kAccumulators] = {};
      for (int i = 0; i < kLogitBlock; i += 16) {
        for (int a = 0; a < kAccumulators; ++a) {
          const Floats weight = exp2_nonpositive((load(logits + i + a * kWidth) - maximum) * scale);
          sum[a] += weight;
          if (weights != nullptr) {
            std::memcpy(weights + block * kLogitBlock + i + a * kWidth, &weight, sizeof(weight));
          }
        }
      }
      sums[block] = sum_of_lanes(sum);
    }
  }

  static WeightMass at_least(const float* weights, int blocks, float threshold) {
    WeightMass result;
    Ints count[kAccumulators] = {};
    for (int block = 0; block < blocks; ++block, weights += kLogitBlock) {
      Floats sum[kAccumulators] = {};
      for (int i = 0; i < kLogitBlock; i += 16) {
        for (int a = 0; a < kAccumulators; ++a) {
          const Floats weight = load(weights + i + a * kWidth);
          const Ints inside = weight >= threshold;
          sum[a] += reinterpret_cast<Floats>(inside & reinterpret_cast<Ints>(weight));
          count[a] -= inside;
        }
      }
      result.mass += sum_of_lanes(sum);
    }
    for (const Ints& part : count) {
      for (int i = 0; i < kWidth; ++i) result.count += part[i];
    }
    return result;
  }
};

}  // namespace
}  // namespace mlxd
