// VectorOps in terms of Simd, for the one instruction set of the file that includes this after its
// simd_*.h. Unnamed namespace for the reason given there; for the same reason no function templates
// of the standard library are used here.
#pragma once

#include "backend/cpu/attention_impl.h"
#include "backend/cpu/vector_math_impl.h"
#include "backend/cpu/vector_ops.h"
#include "backend/cpu/vector_ops_states.h"

namespace mlxd::cpu {
namespace {

void add(float* x, const float* y, int count) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) (Simd::load(x + i) + Simd::load(y + i)).store(x + i);
  for (; i < count; ++i) x[i] += y[i];
}

void scale(float* x, float factor, int count) {
  const Simd by = Simd::set(factor);
  for (int i = 0; i < count; i += kLanes) (Simd::load(x + i) * by).store(x + i);
}

void softcap(float* x, float cap, int count) {
  const Simd limit = Simd::set(cap);
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) soft_capped(Simd::load(x + i), limit).store(x + i);
  if (i == count) return;
  float rest[kLanes] = {};
  for (int j = i; j < count; ++j) rest[j - i] = x[j];
  soft_capped(Simd::load(rest), limit).store(rest);
  for (int j = i; j < count; ++j) x[j] = rest[j - i];
}

void silu_gate(float* gate, const float* up, int count) {
  for (int i = 0; i < count; i += kLanes) {
    const Simd x = Simd::load(gate + i);
    (x * sigmoid(x) * Simd::load(up + i)).store(gate + i);
  }
}

// gelu(x) = x / 2 * (1 + tanh(u)) = x * sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
// (Hendrycks & Gimpel 2016).
void gelu_gate(float* gate, const float* up, int count) {
  const Simd linear = Simd::set(1.5957691216057308f);  // 2 sqrt(2 / pi)
  const Simd cubic = Simd::set(1.5957691216057308f * 0.044715f);
  for (int i = 0; i < count; i += kLanes) {
    const Simd x = Simd::load(gate + i);
    const Simd twice_u = x * Simd::fma(cubic, x * x, linear);
    (x * sigmoid(twice_u) * Simd::load(up + i)).store(gate + i);
  }
}

// Activation::clamped_swiglu.
void clamped_gate(float* gate, const float* up, int count) {
  const Simd one = Simd::set(1), slope = Simd::set(1.702f);
  const Simd most = Simd::set(7), least = Simd::set(-7);
  for (int i = 0; i < count; i += kLanes) {
    const Simd g = Simd::min(Simd::load(gate + i), most);
    const Simd u = Simd::min(Simd::max(Simd::load(up + i), least), most);
    (g * sigmoid(slope * g) * (u + one)).store(gate + i);
  }
}

void sigmoid_gate(float* x, const float* gate, int count) {
  for (int i = 0; i < count; i += kLanes) {
    (Simd::load(x + i) * sigmoid(Simd::load(gate + i))).store(x + i);
  }
}

void multiply(float* x, const float* y, int count) {
  for (int i = 0; i < count; i += kLanes) (Simd::load(x + i) * Simd::load(y + i)).store(x + i);
}

void squared_relu(float* x, int count) {
  for (int i = 0; i < count; i += kLanes) {
    const Simd above = Simd::max(Simd::load(x + i), Simd::set(0));
    (above * above).store(x + i);
  }
}

void rms_norm(const float* x, const float* weight, float epsilon, int count, float* out) {
  Simd even = Simd::set(0), odd = Simd::set(0);
  int i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    const Simd a = Simd::load(x + i), b = Simd::load(x + i + kLanes);
    even = Simd::fma(a, a, even);
    odd = Simd::fma(b, b, odd);
  }
  if (i < count) {
    const Simd a = Simd::load(x + i);
    even = Simd::fma(a, a, even);
  }
  const float mean = (even + odd).sum() / static_cast<float>(count);
  const Simd factor = Simd::set(1.0f / __builtin_sqrtf(mean + epsilon));
  for (i = 0; i < count; i += kLanes) {
    (Simd::load(x + i) * factor * Simd::load(weight + i)).store(out + i);
  }
}

// Two passes: the mean first, so that nothing large is subtracted from what is nearly as large.
void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, int count,
                float* out) {
  Simd sum = Simd::set(0);
  for (int i = 0; i < count; i += kLanes) sum = sum + Simd::load(x + i);
  const Simd mean = Simd::set(sum.sum() / static_cast<float>(count));
  Simd squares = Simd::set(0);
  for (int i = 0; i < count; i += kLanes) {
    const Simd centred = Simd::load(x + i) - mean;
    squares = Simd::fma(centred, centred, squares);
  }
  const float variance = squares.sum() / static_cast<float>(count);
  const Simd factor = Simd::set(1.0f / __builtin_sqrtf(variance + epsilon));
  for (int i = 0; i < count; i += kLanes) {
    const Simd normed = (Simd::load(x + i) - mean) * factor;
    Simd::fma(normed, Simd::load(weight + i), Simd::load(bias + i)).store(out + i);
  }
}

// max(x, 0) - |x| / 2 * erfc(|x| / sqrt(2)), with erfc(z) = polynomial(1 / (1 + p z)) * e^(-z^2)
// within 1.5e-7 (Abramowitz and Stegun, 7.1.26).
void gelu(float* x, int count) {
  const Simd zero = Simd::set(0), one = Simd::set(1);
  for (int i = 0; i < count; i += kLanes) {
    const Simd value = Simd::load(x + i);
    const Simd size = Simd::max(value, zero - value);
    const Simd z = size * Simd::set(0.70710678118654752f);
    const Simd t = one / Simd::fma(Simd::set(0.3275911f), z, one);
    Simd p = Simd::set(1.061405429f);
    p = Simd::fma(p, t, Simd::set(-1.453152027f));
    p = Simd::fma(p, t, Simd::set(1.421413741f));
    p = Simd::fma(p, t, Simd::set(-0.284496736f));
    p = Simd::fma(p, t, Simd::set(0.254829592f));
    const Simd half_erfc = Simd::set(0.5f) * p * t * exponential(zero - z * z);
    (Simd::max(value, zero) - size * half_erfc).store(x + i);
  }
}

void rotate(float* x, const float* cosines, const float* sines, int half) {
  int i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const Simd a = Simd::load(x + i), b = Simd::load(x + half + i);
    const Simd c = Simd::load(cosines + i), s = Simd::load(sines + i);
    (a * c - b * s).store(x + i);
    (a * s + b * c).store(x + half + i);
  }
  for (; i < half; ++i) {
    const float a = x[i], b = x[half + i];
    x[i] = a * cosines[i] - b * sines[i];
    x[half + i] = a * sines[i] + b * cosines[i];
  }
}

constexpr VectorOps make_vector_ops(std::string_view name) {
  return {.name = name,
          .add = add,
          .scale = scale,
          .softcap = softcap,
          .silu_gate = silu_gate,
          .gelu_gate = gelu_gate,
          .clamped_gate = clamped_gate,
          .rms_norm = rms_norm,
          .sigmoid_gate = sigmoid_gate,
          .multiply = multiply,
          .squared_relu = squared_relu,
          .convolve = convolve,
          .delta_rule = delta_rule,
          .scan = scan,
          .layer_norm = layer_norm,
          .gelu = gelu,
          .rotate = rotate,
          .half = kv_ops<HalfKv>(),
          .int8 = kv_ops<Int8Kv>(),
          .fold = fold};
}

}  // namespace
}  // namespace mlxd::cpu
