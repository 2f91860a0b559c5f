#include "backend/cpu/isa.h"

namespace mlxd::cpu {
namespace {

struct InstructionSet {
  const Kernels* kernels;
  bool (*supported)();
};

#ifdef MLXD_X86_KERNELS
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}

bool has_avx512_vnni() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
#endif

// Best first.
const InstructionSet kInstructionSets[] = {
#ifdef MLXD_X86_KERNELS
    {&kAvx512VnniKernels, has_avx512_vnni},
    {&kAvx2Kernels, has_avx2},
#endif
    {&kPortableKernels, [] { return true; }},
};

}  // namespace

const Kernels* find_kernels(std::string_view name) {
  for (const InstructionSet& set : kInstructionSets) {
    if ((name.empty() || set.kernels->name == name) && set.supported()) return set.kernels;
  }
  return nullptr;
}

}  // namespace mlxd::cpu
