#pragma once

#include <cstddef>

namespace mlxd {

// Memory that could be used now without swapping, in bytes: what the system reports as available,
// within the limit of the control group, if any.
std::size_t available_memory();

// Memory of this process that is in RAM, in bytes; 0 where the system does not tell.
std::size_t resident_memory();

}  // namespace mlxd
