#include "backend/cuda/cuda_backend.h"
#include "base/error.h"

namespace mlxd::cuda_backend {

bool available() { return false; }

std::string missing_card() { return "this build has no cuda backend"; }

std::optional<SystemMemory> card_memory() { return std::nullopt; }

std::unique_ptr<ModelRunner> make_cuda_runner(const ModelPlan&, const LoadProgress&) {
  throw StartupError(
      "this build has no cuda backend: use --backend cpu, or build again where nvcc is found "
      "(scripts/setup --cuda fetches it)");
}

}  // namespace mlxd::cuda_backend
