#pragma once

#include <string>
#include <string_view>

namespace mlxd {

// Untrusted text as an error message shows it: in quotes, control and non-ASCII bytes escaped, cut
// after 64 bytes.
std::string in_quotes(std::string_view text);

}  // namespace mlxd
