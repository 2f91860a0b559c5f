#include "backend/mlx/mlx_backend.h"
#include "base/error.h"

namespace mlxd::mlx_backend {

bool available() { return false; }
bool has_gpu() { return false; }

namespace {

[[noreturn]] void fail() {
  throw StartupError(
      "this build has no mlx backend: use --backend cpu, or build again where the MLX library is "
      "found (scripts/setup fetches it)");
}

}  // namespace

RunnerMemory foresee_mlx_memory(const ModelPlan&, const MlxOptions&, const StepLimits&) { fail(); }

std::unique_ptr<ModelRunner> make_mlx_runner(const ModelPlan&, const MlxOptions&,
                                             const LoadProgress&) {
  fail();
}

}  // namespace mlxd::mlx_backend
