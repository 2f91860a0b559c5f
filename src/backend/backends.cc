#include "backend/backends.h"

#include "backend/cpu/cpu_backend.h"
#include "backend/mlx/mlx_backend.h"

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
  if (backend_name(options) == "mlx") return mlx_backend::make_mlx_runner(plan, {});
  cpu::CpuOptions cpu_options;
  cpu_options.threads = options.threads;
  cpu_options.isa = options.isa;
  return cpu::make_cpu_runner(plan, cpu_options, progress);
}

}  // namespace mlxd
