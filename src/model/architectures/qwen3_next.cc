// Qwen3-Next (Qwen Team 2025; Qwen3-Coder-Next): Qwen3.5's layers with experts before it, whose
// products are stored fused.
#include "model/architectures/qwen.h"

namespace mlxd {
namespace {

constexpr std::string_view kModelTypes[] = {"qwen3_next"};

}  // namespace

Architecture qwen3_next_architecture() {
  return qwen3_5_like("qwen3_next", kModelTypes, "qwen3next");
}

}  // namespace mlxd
