#include <cuda_runtime_api.h>

#include "backend/cuda/cuda_backend.h"

namespace mlxd::cuda_backend {
namespace {

constexpr int kLeastMajor = 9, kLeastMinor = 0;  // what the kernels are compiled for

}  // namespace

bool available() { return true; }

std::string missing_card() {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    cudaGetLastError();
    return std::string("no NVIDIA card is to be had here (") + cudaGetErrorString(error) + ")";
  }
  if (count == 0) return "no NVIDIA card is to be had here";
  cudaDeviceProp card{};
  if (cudaGetDeviceProperties(&card, 0) != cudaSuccess) return "the first card does not answer";
  if (card.major != kLeastMajor || card.minor != kLeastMinor) {
    return std::string("the first card, a ") + card.name + ", has compute capability " +
           std::to_string(card.major) + "." + std::to_string(card.minor) +
           ", and the kernels are for 9.0 (H100, H200)";
  }
  return {};
}

std::optional<SystemMemory> card_memory() {
  SystemMemory memory;
  if (!missing_card().empty()) return std::nullopt;
  if (cudaMemGetInfo(&memory.available, &memory.most) != cudaSuccess) return std::nullopt;
  return memory;
}

}  // namespace mlxd::cuda_backend
