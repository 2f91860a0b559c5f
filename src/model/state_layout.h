#pragma once

#include <cstddef>
#include <vector>

#include "model/model_plan.h"

namespace mlxd {

// The recurrent state of one layer, in 32-bit floats, all zero before the first token: the last
// rows that its convolution saw, and a matrix of each head.
struct StateShape {
  int channels = 0, kernel = 0;               // of the convolution: kernel - 1 rows
  int heads = 0, key_dim = 0, value_dim = 0;  // 0 heads: no matrices

  std::size_t convolution_floats() const {
    return static_cast<std::size_t>(kernel - 1) * static_cast<std::size_t>(channels);
  }
  std::size_t head_floats() const {
    return static_cast<std::size_t>(key_dim) * static_cast<std::size_t>(value_dim);
  }
  std::size_t floats() const {
    return convolution_floats() + static_cast<std::size_t>(heads) * head_floats();
  }
};

// By state layer (the `layer` of blocks that keep one).
std::vector<StateShape> state_shapes(const ModelPlan& plan);

}  // namespace mlxd
