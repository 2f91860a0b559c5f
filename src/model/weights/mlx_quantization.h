#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "model/json_fields.h"
#include "model/quantization.h"

namespace mlxd {

// How config.json says that mlx-lm quantised a model: {"group_size": 64, "bits": 4} for all, and
// under a module's path its own values.
class MlxQuantization {
 public:
  // Throws LoadError for widths, groups or modes that MLX's affine quantisation does not have, and
  // for the formats of other tools (AWQ, GPTQ, ...).
  explicit MlxQuantization(const JsonFields& config);

  // Of a module as the file calls it ("model.layers.0.mlp.up_proj"); nothing when none is stated.
  // scale_encoding is left to the tensors.
  std::optional<Quantization> of(std::string_view module) const;

 private:
  std::optional<Quantization> common_;
  std::map<std::string, Quantization, std::less<>> own_;
};

}  // namespace mlxd
