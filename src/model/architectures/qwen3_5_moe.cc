// Qwen3.5 to 3.8 with experts beside a shared one, whose output a gate weighs: else as qwen3_5.cc.
#include "model/architectures/qwen.h"

namespace mlxd {
namespace {

constexpr std::string_view kModelTypes[] = {"qwen3_5_moe", "qwen3_5_moe_text"};

}  // namespace

Architecture qwen3_5_moe_architecture() {
  return qwen3_5_like("qwen3_5_moe", kModelTypes, "qwen35moe");
}

}  // namespace mlxd
