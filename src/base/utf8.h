#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mlxd {

// How many bytes at the start of `bytes` are certainly whole: everything up to a trailing sequence
// that is so far a valid, unfinished UTF-8 character (at most 3 bytes). Invalid bytes count as
// whole.
std::size_t complete_utf8_prefix(std::string_view bytes);

bool is_valid_utf8(std::string_view bytes);

// The text with each maximal invalid part replaced by U+FFFD, as the Unicode standard (3.9, "best
// practice") and Python's errors="replace" do it.
std::string replace_invalid_utf8(std::string_view bytes);

}  // namespace mlxd
