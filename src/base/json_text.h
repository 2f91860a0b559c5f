#pragma once

#include <string>
#include <string_view>

namespace mlxd {

// Appends the text as a JSON string's inside, without the quotation marks around it. Bytes that are
// no control characters stay as they are.
void append_json_escaped(std::string& out, std::string_view text);

}  // namespace mlxd
