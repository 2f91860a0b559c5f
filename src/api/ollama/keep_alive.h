#pragma once

#include <boost/json/value.hpp>

#include "base/error.h"

namespace mlxd::api::ollama {

// How long a model is to stay when a request that has loaded it is over, in seconds; below 0: as
// long as there is room. Of seconds, or a duration as Go's time.ParseDuration reads it.
Result<double> read_keep_alive(const boost::json::value& value);

}  // namespace mlxd::api::ollama
