#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mlxd {

// The first key that some object of the JSON text has twice, if any. Parsers keep one of the two
// values, and not all the same one: what a header says must not depend on that. Text that is not
// valid JSON is searched up to the mistake.
std::optional<std::string> find_duplicate_key(std::string_view json);

}  // namespace mlxd
