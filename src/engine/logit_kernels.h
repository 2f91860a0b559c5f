#pragma once

#include <bit>
#include <cstdint>

namespace mlxd {

// Logits are looked at in blocks of so many.
inline constexpr int kLogitBlock = 64;

// 2^x for x <= 0, 0 below -126: round to an integer and a fraction, a polynomial (interpolation in
// Chebyshev nodes on [-1/2, 1/2], error 2e-7) for the fraction, the integer into the exponent. The
// kernels compute the same bits, many at a time.
inline float exp2_nonpositive(float x) {
  const float shifted = x + 12582912.0f;  // 1.5 * 2^23: the integer is in the lowest bits
  const float f = x - (shifted - 12582912.0f);
  float p = 1.339086336e-03f;
  p = p * f + 9.676031918e-03f;
  p = p * f + 5.550357114e-02f;
  p = p * f + 2.402210749e-01f;
  p = p * f + 6.931471880e-01f;
  p = p * f + 1.0f;
  const auto scaled =
      std::bit_cast<std::uint32_t>(p) + (std::bit_cast<std::uint32_t>(shifted) << 23);
  return x < -126.0f ? 0.0f : std::bit_cast<float>(scaled);
}

struct WeightMass {
  double mass = 0;
  int count = 0;
};

// The loops over a whole vocabulary, for one instruction set. All sets give the same bits: sixteen
// accumulators in one order, no contraction of a * b + c.
struct LogitKernels {
  // Largest of each block into maxima [blocks]. Returns 0 when all numbers are finite, else NaN.
  float (*maxima)(const float* logits, int blocks, float* maxima);
  // Copies [blocks] of logits to `masked`, -infinity where a token's bit in `allowed`
  // [blocks, 2 words, the lowest bit first] is 0; and the largest of each block into maxima.
  void (*mask)(const float* logits, int blocks, const std::uint32_t* allowed, float* masked,
               float* maxima);
  // 2^(scale * (logit - maximum)): summed for each block into sums [blocks], and one by one into
  // weights [blocks, kLogitBlock] unless that is null.
  void (*exponentials)(const float* logits, int blocks, float maximum, float scale, float* sums,
                       float* weights);
  // The weights of at least `threshold`.
  WeightMass (*at_least)(const float* weights, int blocks, float threshold);
};

extern const LogitKernels kPortableLogitKernels;
// x86-64 only:
extern const LogitKernels kAvx2LogitKernels;
extern const LogitKernels kAvx512LogitKernels;

// The best that this processor runs.
const LogitKernels& logit_kernels();

}  // namespace mlxd
