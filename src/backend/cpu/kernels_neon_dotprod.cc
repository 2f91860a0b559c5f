// NEON with dot products of bytes, for all numbers of rows.
#include "backend/cpu/neon_dot_products.h"
#include "backend/cpu/neon_tiles.h"

namespace mlxd::cpu {

constinit const Kernels kNeonDotprodKernels = kernels_of<DotProducts>("neon_dotprod");

}  // namespace mlxd::cpu
