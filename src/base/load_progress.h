#pragma once

#include <functional>

namespace mlxd {

// Told the share of a model's weights that are in place, 0 to 1, never less than before: on the
// thread that makes the runner. Empty: nobody wants to know.
using LoadProgress = std::function<void(double done)>;

}  // namespace mlxd
