#pragma once

#include <cstddef>
#include <filesystem>

namespace mlxd {

// What the system could give this process, within the limits of its control groups, in bytes.
struct SystemMemory {
  std::size_t available = 0;  // now, without swapping; file contents that it keeps count as free
  std::size_t most = 0;       // ever, swap included: who needs more is ended
};

// As /proc and /sys below `root` tell. Where they do not, nothing is known to be short.
SystemMemory system_memory(const std::filesystem::path& root = "/");

// Memory of this process that is in RAM, in bytes; 0 where the system does not tell.
std::size_t resident_memory();

// Gives the system back what this process has freed but still holds, where the C library can.
void release_free_memory();

}  // namespace mlxd
