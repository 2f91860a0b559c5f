#include "backend/cpu/isa.h"

#if defined(MLXD_X86_KERNELS) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace mlxd::cpu {
namespace {

struct InstructionSet {
  const Kernels* kernels;
  bool (*supported)();
  bool served = true;  // false: only where it is named
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

// The tiles' registers are the process's only after it has asked for them.
bool has_amx() {
#ifdef __linux__
  constexpr unsigned kTiles = 1u << 24, kBfloat16 = 1u << 22;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!has_avx512_vnni() || !__builtin_cpu_supports("avx512bf16")) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & kTiles) || !(d & kBfloat16)) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

// Best first.
const InstructionSet kInstructionSets[] = {
#ifdef MLXD_X86_KERNELS
    {&kAmxKernels, has_amx},
    {&kAvx512VnniKernels, has_avx512_vnni},
    {&kAvx2Kernels, has_avx2},
#endif
    {&kPortableKernels, [] { return true; }},
#ifdef MLXD_X86_KERNELS
    {&kAmxModelKernels, has_avx512_vnni, false},
#endif
};

}  // namespace

const Kernels* find_kernels(std::string_view name) {
  for (const InstructionSet& set : kInstructionSets) {
    const bool meant = name.empty() ? set.served : set.kernels->name == name;
    if (meant && set.supported()) return set.kernels;
  }
  return nullptr;
}

}  // namespace mlxd::cpu
