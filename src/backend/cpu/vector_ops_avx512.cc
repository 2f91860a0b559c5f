// The instruction set comes first: the other header is written in it.
#include "backend/cpu/simd_avx512.h"
#include "backend/cpu/vector_ops_impl.h"

namespace mlxd::cpu {

const VectorOps& avx512_vector_ops() {
  static constexpr VectorOps ops = make_vector_ops("avx512");
  return ops;
}

}  // namespace mlxd::cpu
