#pragma once

#include <filesystem>
#include <system_error>
#include <vector>

namespace mlxd {

// What is in a folder, in no order, up to the first entry that cannot be read: `error` then says
// why. An iterator's own ++ would throw there.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder,
                                              std::error_code& error);

// The same, for who can do nothing about it.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);

}  // namespace mlxd
