#include "cli/descriptor_limit.h"

#include <algorithm>
#include <limits>

#include <sys/resource.h>

namespace mlxd {
namespace {

long as_long(rlim_t limit) {
  constexpr long kMost = std::numeric_limits<long>::max();
  return limit == RLIM_INFINITY || limit > static_cast<rlim_t>(kMost) ? kMost
                                                                      : static_cast<long>(limit);
}

}  // namespace

long raise_descriptor_limit(long wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  const rlim_t before = limit.rlim_cur;
  if (as_long(before) >= wanted) return as_long(before);
  limit.rlim_cur = static_cast<rlim_t>(std::min(wanted, as_long(limit.rlim_max)));
  return as_long(::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before);
}

}  // namespace mlxd
