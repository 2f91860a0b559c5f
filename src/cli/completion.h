#pragma once

#include <string>
#include <string_view>

namespace CLI {
class App;
}  // namespace CLI

namespace mlxd {

// A script with which a shell completes the commands of the program and their options, as `app`
// declares them. `shell` is bash, zsh or fish; throws StartupError for another.
std::string completion_script(const CLI::App& app, std::string_view shell);

}  // namespace mlxd
