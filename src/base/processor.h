#pragma once

namespace mlxd {

// What x86-64 has beyond its first form, and the system lets programs use; all false on others.
// Asked of the processor itself: __builtin_cpu_supports answers no to everything in a program that
// is linked with zig's compiler-rt, as packages are.
struct ProcessorFeatures {
  bool avx2 = false, fma = false, f16c = false;
  bool avx512f = false, avx512bw = false, avx512vl = false, avx512dq = false, avx512vnni = false;
  bool avx512bf16 = false;
  bool amx_tile = false, amx_bf16 = false;  // whose registers a program must ask the system for
};
const ProcessorFeatures& processor_features();

}  // namespace mlxd
