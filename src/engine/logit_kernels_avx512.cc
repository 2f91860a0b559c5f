#include "engine/logit_kernels_impl.h"

namespace mlxd {

const LogitKernels kAvx512LogitKernels = {Kernels<64>::maxima, Kernels<64>::mask,
                                          Kernels<64>::exponentials, Kernels<64>::at_least};

}  // namespace mlxd
