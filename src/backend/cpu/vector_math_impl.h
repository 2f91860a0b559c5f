// What vector_ops_impl.h and attention_impl.h compute with, for the instruction set of the file
// that includes them. Unnamed namespace for the reason given in simd_*.h.
#pragma once

namespace mlxd::cpu {
namespace {

constexpr int kLanes = 16;

constexpr int least(int a, int b) { return a < b ? a : b; }

// e^x within 2 units of the last place; e^0 is exactly 1. Cody & Waite's reduction, the polynomial
// of Moshier's Cephes library (expf).
Simd exponential(Simd x) {
  x = Simd::min(Simd::max(x, Simd::set(-86)), Simd::set(88));
  const Simd n = (x * Simd::set(1.44269504088896341f)).rounded();
  Simd r = Simd::fma(n, Simd::set(-0.693359375f), x);
  r = Simd::fma(n, Simd::set(2.12194440e-4f), r);
  Simd p = Simd::set(1.9875691500e-4f);
  p = Simd::fma(p, r, Simd::set(1.3981999507e-3f));
  p = Simd::fma(p, r, Simd::set(8.3334519073e-3f));
  p = Simd::fma(p, r, Simd::set(4.1665795894e-2f));
  p = Simd::fma(p, r, Simd::set(1.6666665459e-1f));
  p = Simd::fma(p, r, Simd::set(5.0000001201e-1f));
  const Simd y = Simd::fma(p, r * r, r + Simd::set(1));
  return y.scaled_by_power(n);
}

float exponential(float x) {
  float lanes[kLanes];
  exponential(Simd::set(x)).store(lanes);
  return lanes[0];
}

Simd sigmoid(Simd x) { return Simd::set(1) / (Simd::set(1) + exponential(Simd::set(0) - x)); }

// cap * tanh(x / cap), by tanh(z) = 2 sigmoid(2 z) - 1.
Simd soft_capped(Simd x, Simd cap) {
  const Simd two = Simd::set(2);
  return cap * Simd::fma(two, sigmoid(two * (x / cap)), Simd::set(-1));
}

}  // namespace
}  // namespace mlxd::cpu
