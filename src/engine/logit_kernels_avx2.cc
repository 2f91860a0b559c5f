#include "engine/logit_kernels_impl.h"

namespace mlxd {

const LogitKernels kAvx2LogitKernels = {Kernels<32>::maxima, Kernels<32>::mask,
                                        Kernels<32>::exponentials, Kernels<32>::at_least};

}  // namespace mlxd
