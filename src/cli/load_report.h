#pragma once

#include <string>

#include "base/load_progress.h"

namespace mlxd {

// Shows how far a model's load has come: on a terminal in one line that goes when all is there, and
// in a log every ten seconds, so that a long one does not look like a hang.
LoadProgress load_report(std::string model);

}  // namespace mlxd
