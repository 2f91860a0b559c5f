// The instruction set comes first: the other header is written in it.
#include "backend/cpu/simd_portable.h"
#include "backend/cpu/vector_ops_impl.h"

namespace mlxd::cpu {

const VectorOps& portable_vector_ops() {
  static constexpr VectorOps ops = make_vector_ops("portable");
  return ops;
}

}  // namespace mlxd::cpu
