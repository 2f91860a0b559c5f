#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mlxd {

// The name that was most likely meant, by the letters that would have to change; "" where none is
// near.
std::string nearest(std::string_view typed, std::span<const std::string> names);

// What to say to someone who typed an option that a command does not have ("--ctx-size"), of which
// `options` are the names it does have: the one that other servers call so, the nearest, or why
// there is none. A part of a sentence that begins with "; " or ": ", or "".
std::string hint_for_option(std::string_view typed, std::span<const std::string> options);

// The same for a word in the place of a command: "run", "model.gguf".
std::string hint_for_command(std::string_view typed, std::span<const std::string> commands);

}  // namespace mlxd
