#pragma once

namespace mlxd {

// What a processor has beyond the first form of its architecture, and the system lets programs use;
// all false of other architectures. Of x86-64 the processor itself is asked:
// __builtin_cpu_supports answers no to everything in a program that is linked with zig's
// compiler-rt, as packages are. Of 64-bit Arm the system.
struct ProcessorFeatures {
  bool avx2 = false, fma = false, f16c = false;
  bool avx512f = false, avx512bw = false, avx512vl = false, avx512dq = false, avx512vnni = false;
  bool avx512bf16 = false;
  bool amx_tile = false, amx_bf16 = false;  // whose registers a program must ask the system for
  bool dotprod = false, i8mm = false;       // of Arm: products of bytes, and of matrices of them
};
const ProcessorFeatures& processor_features();

}  // namespace mlxd
