#pragma once

#include <source_location>
#include <string_view>

namespace mlxd {

// Prints which invariant broke and where, then aborts: going on would corrupt someone's answer.
[[noreturn]] void invariant_broken(std::string_view invariant, const std::source_location& where);

// An invariant of the program (never a user's mistake; that is an Error or a LoadError). Always on.
inline void check(bool holds, std::string_view invariant,
                  const std::source_location& where = std::source_location::current()) {
  if (!holds) [[unlikely]] {
    invariant_broken(invariant, where);
  }
}

}  // namespace mlxd
