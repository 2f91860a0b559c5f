#include "backend/backends.h"

#include <fmt/format.h>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/worker_pool.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/mlx/mlx_backend.h"
#include "base/error.h"

namespace mlxd {
namespace {

// Whether it is this one, which has but one format for its KV cache.
bool uses(const char* name, const BackendOptions& options) {
  if (backend_name(options) != name) return false;
  if (options.kv_cache_type == "int8") {
    throw StartupError(
        fmt::format("the {} backend keeps its KV cache in the model's own format: leave out "
                    "--kv-cache-type int8, or use --backend cpu",
                    name));
  }
  return true;
}

std::string default_backend() {
#ifdef __APPLE__
  if (mlx_backend::available()) return "mlx";
#endif
  return "cpu";
}

cpu::CpuOptions cpu_options(const BackendOptions& options) {
  cpu::CpuOptions chosen;
  chosen.threads = options.threads;
  chosen.isa = options.isa;
  if (options.kv_cache_type == "int8") chosen.kv_format = cpu::KvFormat::int8;
  return chosen;
}

}  // namespace

std::string backend_name(const BackendOptions& options) {
  if (options.name == "auto") {
    return cuda_backend::missing_card().empty() ? "cuda" : default_backend();
  }
  return options.name.empty() ? default_backend() : options.name;
}

std::string available_backends() {
  std::string names = "cpu";
  if (cuda_backend::available()) names += ", cuda";
  if (mlx_backend::available()) names += ", mlx";
  return names;
}

SystemMemory memory_for(const BackendOptions& options) {
  if (backend_name(options) == "cuda") {
    if (const auto memory = cuda_backend::card_memory()) return *memory;
  }
  return system_memory();
}

std::vector<std::string> backend_warnings(const BackendOptions& options) {
  std::vector<std::string> warnings;
  const std::string name = backend_name(options);
  if (options.name == "auto" && name != "cuda") {
    warnings.push_back(
        fmt::format("--backend auto takes {}, since {}", name, cuda_backend::missing_card()));
  }
  if (name == "mlx") {
    if (mlx_backend::available() && !mlx_backend::has_gpu()) {
      warnings.push_back(
          "the mlx backend finds no GPU here, and is then a reference that computes slowly: "
          "--backend cpu is many times as fast");
    }
  } else if (name == "cuda") {
    return warnings;
  } else if (const int usable = cpu::usable_processors(); options.threads > usable) {
    warnings.push_back(fmt::format(
        "--threads asks for {} threads, but this process may use {}: more than that wait for each "
        "other, and make every step slower",
        options.threads, usable == 1 ? "1 processor" : fmt::format("{} processors", usable)));
  }
  return warnings;
}

RunnerMemory foresee_memory(const ModelPlan& plan, const BackendOptions& options,
                            const StepLimits& limits) {
  if (uses("cuda", options)) return cuda_backend::foresee_cuda_memory(plan, limits);
  if (uses("mlx", options)) return mlx_backend::foresee_mlx_memory(plan, {}, limits);
  return cpu::foresee_cpu_memory(plan, cpu_options(options), limits);
}

std::unique_ptr<ModelRunner> make_runner(const ModelPlan& plan, const BackendOptions& options,
                                         const LoadProgress& progress) {
  if (uses("cuda", options)) return cuda_backend::make_cuda_runner(plan, progress);
  if (uses("mlx", options)) return mlx_backend::make_mlx_runner(plan, {}, progress);
  return cpu::make_cpu_runner(plan, cpu_options(options), progress);
}

}  // namespace mlxd
