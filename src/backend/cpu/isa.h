#pragma once

#include "backend/cpu/kernels.h"
#include "backend/cpu/prompt_kernels.h"

namespace mlxd::cpu {

// The instruction sets that this program was built with; isa.cc asks the processor before use.
extern const Kernels kPortableKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512VnniKernels;
extern const Kernels kAmxKernels;       // those of kAvx512VnniKernels, and a matrix unit's
extern const Kernels kAmxModelKernels;  // with a model of that unit
extern const Kernels kNeonKernels;
extern const Kernels kNeonDotprodKernels;
extern const Kernels kNeonI8mmKernels;

extern const PromptKernels kAmxPrompts;
extern const PromptKernels kAmxModelPrompts;

// How a group of 32 values is quantised, from its greatest magnitude: code = value * inverse.
struct QuantizeFactors {
  float scale;
  float inverse;
};

// A group that is all but zero becomes zero: 127 / maximum must not overflow.
static inline QuantizeFactors quantize_factors(float maximum) {
  constexpr float kLeastMaximum = 1e-30f;
  if (maximum < kLeastMaximum) return {0, 0};
  return {maximum / 127, 127 / maximum};
}

}  // namespace mlxd::cpu
