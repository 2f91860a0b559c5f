#include "backend/cpu/isa.h"

#include "base/processor.h"

namespace mlxd::cpu {
namespace {

struct InstructionSet {
  const Kernels* kernels;
  bool (*supported)();
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
