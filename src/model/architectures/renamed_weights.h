#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "model/weight_source.h"

namespace mlxd {

// A module of a model ("model."), or of a layer ("model.layers.<n>."), which a family's folders
// call otherwise than most do, with all that is within it.
struct ModuleName {
  std::string_view own, usual;
};

// The weights under the usual names too, so that a PlanBuilder finds them; `names` and `root`,
// which the folders have for "model", must outlive them. Where several are of one module, the first
// that is there is taken.
std::shared_ptr<const WeightSource> renamed(std::shared_ptr<const WeightSource> weights,
                                            std::span<const ModuleName> names,
                                            std::string_view root = "model");

}  // namespace mlxd
