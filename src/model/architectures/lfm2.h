#pragma once

#include "model/architectures/architecture.h"

namespace mlxd {

// lfm2.cc
Architecture lfm2_like(std::string_view name, std::span<const std::string_view> model_types,
                       std::string_view gguf_name);

}  // namespace mlxd
