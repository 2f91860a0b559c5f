#include "backend/cpu/vector_ops.h"

namespace mlxd::cpu {

const VectorOps& find_vector_ops([[maybe_unused]] std::string_view kernels_name) {
#if defined(__x86_64__)
  if (kernels_name.starts_with("avx512") || kernels_name.starts_with("amx")) {
    return avx512_vector_ops();
  }
  if (kernels_name.starts_with("avx2")) return avx2_vector_ops();
#endif
#if defined(__aarch64__)
  if (kernels_name.starts_with("neon")) return neon_vector_ops();
#endif
  return portable_vector_ops();
}

}  // namespace mlxd::cpu
