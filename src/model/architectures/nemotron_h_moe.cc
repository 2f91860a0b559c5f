// Nemotron-H with experts (Nemotron 3), which folders call as the others, and GGUF files apart.
#include "model/architectures/nemotron.h"

namespace mlxd {

Architecture nemotron_h_moe_architecture() {
  return nemotron_h_like("nemotron_h_moe", {}, "nemotron_h_moe");
}

}  // namespace mlxd
