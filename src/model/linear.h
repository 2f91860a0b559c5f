#pragma once

#include <vector>

#include "model/tensor.h"

namespace mlxd {

// y = W x + b. weight [out, in].
struct Linear {
  Tensor weight;
  std::vector<float> bias;  // [out], empty when there is none
};

}  // namespace mlxd
