#include "backend/backends.h"

#include "backend/cpu/cpu_backend.h"
#include "backend/mlx/mlx_backend.h"
#include "base/error.h"

namespace mlxd {

std::string backend_name(const BackendOptions& options) {
  if (!options.name.empty()) return options.name;
#ifdef __APPLE__
  if (mlx_backend::available()) return "mlx";
#endif
  return "cpu";
}

std::string available_backends() { return mlx_backend::available() ? "cpu, mlx" : "cpu"; }

std::unique_ptr<ModelRunner> make_runner(const ModelPlan& plan, const BackendOptions& options,
                                         void (*progress)(double)) {
  const bool int8 = options.kv_cache_type == "int8";
  if (backend_name(options) == "mlx") {
    if (int8) {
      throw StartupError(
          "the mlx backend keeps its KV cache in the model's own format: leave out "
          "--kv-cache-type int8, or use --backend cpu");
    }
    return mlx_backend::make_mlx_runner(plan, {});
  }
  cpu::CpuOptions cpu_options;
  cpu_options.threads = options.threads;
  cpu_options.isa = options.isa;
  if (int8) cpu_options.kv_format = cpu::KvFormat::int8;
  return cpu::make_cpu_runner(plan, cpu_options, progress);
}

}  // namespace mlxd
