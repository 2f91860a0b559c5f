// LFM2 with experts (8B-A1B): chosen by sigmoids with a bias, behind the first dense layers.
#include "model/architectures/lfm2.h"

namespace mlxd {
namespace {

constexpr std::string_view kModelTypes[] = {"lfm2_moe"};

}  // namespace

Architecture lfm2_moe_architecture() { return lfm2_like("lfm2_moe", kModelTypes, "lfm2moe"); }

}  // namespace mlxd
