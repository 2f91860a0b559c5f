#pragma once

namespace mlxd {

// What a hidden layer makes of its two products, gate and up: activation(gate) * up, and of
// clamped_swiglu with g = min(gate, 7), u = clamp(up, -7, 7): g * sigmoid(1.702 g) * (u + 1).
// Without a gate it is activation(up): squared_relu is max(up, 0)^2 (So et al. 2021), and has never
// one. gelu is the exact one, by erf (Hendrycks & Gimpel 2016).
enum class Activation { silu, gelu, gelu_tanh, clamped_swiglu, squared_relu };

}  // namespace mlxd
