#pragma once

namespace mlxd {

// Lets this process open `wanted` file descriptors, as far as the hard limit allows: shells and
// service managers set the soft limit to 1,024, for programs that use select(). Returns how many it
// may open now.
long raise_descriptor_limit(long wanted);

}  // namespace mlxd
