#include "engine/logit_kernels.h"

#include "engine/logit_kernels_impl.h"

namespace mlxd {

const LogitKernels kPortableLogitKernels = {Kernels<16>::maxima, Kernels<16>::mask,
                                            Kernels<16>::exponentials, Kernels<16>::at_least};

const LogitKernels& logit_kernels() {
#if defined(__x86_64__)
  static const bool has_avx512 = __builtin_cpu_supports("avx512f");
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  if (has_avx512) return kAvx512LogitKernels;
  if (has_avx2) return kAvx2LogitKernels;
#endif
  return kPortableLogitKernels;
}

}  // namespace mlxd
