#include "backend/cpu/isa.h"

#if defined(MLXD_X86_KERNELS) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/processor.h"

namespace mlxd::cpu {
namespace {

struct InstructionSet {
  const Kernels* kernels;
  bool (*supported)();
  bool served = true;  // false: only where it is named
};

#ifdef MLXD_X86_KERNELS
bool has_avx2() {
  const ProcessorFeatures& has = processor_features();
  return has.avx2 && has.fma && has.f16c;
}

bool has_avx512_vnni() {
  const ProcessorFeatures& has = processor_features();
  return has_avx2() && has.avx512f && has.avx512bw && has.avx512vl && has.avx512dq &&
         has.avx512vnni;
}

// The tiles' registers are the process's only after it has asked for them.
bool has_amx() {
#ifdef __linux__
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  const ProcessorFeatures& has = processor_features();
  return has_avx512_vnni() && has.avx512bf16 && has.amx_tile && has.amx_bf16 &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

// Best first.
const InstructionSet kInstructionSets[] = {
#ifdef MLXD_ARM_KERNELS
    {&kNeonI8mmKernels, [] { return processor_features().dotprod && processor_features().i8mm; }},
    {&kNeonDotprodKernels, [] { return processor_features().dotprod; }},
    {&kNeonKernels, [] { return true; }},
#endif
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
