#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace mlxd {

void invariant_broken(std::string_view invariant, const std::source_location& where) {
  std::fprintf(stderr, "mlxd: broken invariant: %.*s (%s:%u in %s). This is a bug in mlxd.\n",
               static_cast<int>(invariant.size()), invariant.data(), where.file_name(),
               where.line(), where.function_name());
  std::abort();
}

}  // namespace mlxd
