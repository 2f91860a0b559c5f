// The instruction set comes first: the other header is written in it.
#include "backend/cpu/simd_avx2.h"
#include "backend/cpu/vector_ops_impl.h"

namespace mlxd::cpu {

const VectorOps& avx2_vector_ops() {
  static constexpr VectorOps ops = make_vector_ops("avx2");
  return ops;
}

}  // namespace mlxd::cpu
