#include "cli/messages.h"

#include <cstdio>

namespace mlxd {

void print_error(std::string_view sentence) {
  std::fprintf(stderr, "mlxd: %.*s\n", static_cast<int>(sentence.size()), sentence.data());
}

void print_warning(std::string_view sentence) {
  std::fprintf(stderr, "mlxd: warning: %.*s\n", static_cast<int>(sentence.size()), sentence.data());
}

}  // namespace mlxd
