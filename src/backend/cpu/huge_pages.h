#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace mlxd::cpu {

// Zeroed memory, 64-byte aligned, in 2 MiB pages where the system gives them. Small requests share
// pages: a matrix of 200 KB does not cost 2 MiB. Any thread. Throws std::bad_alloc.
std::shared_ptr<std::uint8_t> allocate_huge(std::size_t bytes);

}  // namespace mlxd::cpu
