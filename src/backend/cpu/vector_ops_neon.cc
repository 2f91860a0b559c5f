// The instruction set comes first: the other header is written in it.
#include "backend/cpu/simd_neon.h"
#include "backend/cpu/vector_ops_impl.h"

namespace mlxd::cpu {

const VectorOps& neon_vector_ops() {
  static constexpr VectorOps ops = make_vector_ops("neon");
  return ops;
}

}  // namespace mlxd::cpu
