#pragma once

#include <string>

namespace mlxd {

// Makes the default logger one that writes to stderr: a line of text, or one JSON object a line
// when `format` is "json". `level` is one of spdlog's names.
void set_up_logging(const std::string& level, const std::string& format);

}  // namespace mlxd
