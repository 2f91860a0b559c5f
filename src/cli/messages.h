#pragma once

#include <string_view>

namespace mlxd {

// What the program says to who typed its command, one line each on standard error, all alike:
// "mlxd: " and a sentence without a full stop.
void print_error(std::string_view sentence);
void print_warning(std::string_view sentence);

}  // namespace mlxd
