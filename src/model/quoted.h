#pragma once

#include <span>
#include <string>
#include <string_view>

namespace mlxd {

// Untrusted text as an error message shows it: in quotes, control and non-ASCII bytes escaped, cut
// after 64 bytes.
std::string in_quotes(std::string_view text);

// "a, b, c", of many names the first eight and how many more there are.
std::string list_of(std::span<const std::string> names);

}  // namespace mlxd
