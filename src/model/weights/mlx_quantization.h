#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "model/json_fields.h"
#include "model/quantization.h"

namespace mlxd {

// The form of small floats (mxfp4, nvfp4, mxfp8) whose rows of so many 32-bit words have so many
// 8-bit scales: each has its own ratio.
std::optional<Quantization> small_floats_of(std::int64_t words, std::int64_t scales);

// How config.json says that mlx-lm quantised a model: {"group_size": 64, "bits": 4, "mode":
// "affine"} for all, and under a module's path its own values, or false.
class MlxQuantization {
 public:
  // Throws LoadError for widths, groups or modes that MLX does not have, and
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
