#pragma once

#include "model/model_config.h"

namespace mlxd {

// ERNIE 4.5's heads turn as neighbours, in either kind of file.
inline void ernie_defaults(ModelConfig& config) {
  config.rope.theta = 500000;
  config.rope.interleaved = true;
}

}  // namespace mlxd
