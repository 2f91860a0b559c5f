#pragma once

#include <string>

namespace mlxd::api::ollama {

// "2026-11-27T23:47:10.123456Z"
std::string time_now();
// Of Unix time, in seconds.
std::string time_of(long seconds);

}  // namespace mlxd::api::ollama
