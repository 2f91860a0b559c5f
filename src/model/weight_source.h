#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/tensor.h"

namespace mlxd {

// The weights of one model, under Hugging Face module paths whatever the file calls them. Immutable
// after construction; any thread may read.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // The tensor of that name, for example "model.layers.3.mlp.up_proj.weight". The quantisation
  // side tensors of MLX ("....scales", "....biases") are part of their weight, not of this list.
  virtual std::optional<Tensor> find(std::string_view name) const = 0;
  virtual std::vector<Tensor> all() const = 0;

  // What errors call this source: the file or the folder.
  virtual std::string description() const = 0;
};

}  // namespace mlxd
