#include "engine/logit_kernels.h"

#include "base/processor.h"
#include "engine/logit_kernels_impl.h"

namespace mlxd {

const LogitKernels kPortableLogitKernels = {Kernels<16>::maxima, Kernels<16>::mask,
                                            Kernels<16>::exponentials, Kernels<16>::at_least};

const LogitKernels& logit_kernels() {
#if defined(__x86_64__)
  if (processor_features().avx512f) return kAvx512LogitKernels;
  if (processor_features().avx2) return kAvx2LogitKernels;
#endif
  return kPortableLogitKernels;
}

}  // namespace mlxd
