#pragma once

#include <atomic>
#include <filesystem>
#include <string>

#include "hub/model_choice.h"

namespace mlxd::hub {

// The hash by which the hub knows a file of these bytes: SHA-256 of them, or, where `file` has
// git's, SHA-1 of "blob <size>\0" and them. Lower-case hex. "" when `stop` became true meanwhile.
// Throws StartupError when the file cannot be read.
std::string hash_of(const std::filesystem::path& path, const RepositoryFile& file,
                    const std::atomic<bool>& stop);

}  // namespace mlxd::hub
