#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "hub/settings.h"

namespace mlxd::hub {

// The file with which the certificates of others are checked: the user's; "" where libcurl was
// built with a place of its own, as a system's is; else, since a libcurl inside a program that runs
// on any system has none, the one of those that systems have. Throws StartupError where the hub
// is asked by https and there is none.
std::string certificates_for(const Settings& settings);

// The first of these files that can be read; "" where there is none.
std::string find_certificates(std::span<const std::filesystem::path> places);

}  // namespace mlxd::hub
