#pragma once

#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class Option;
class Validator;
}  // namespace CLI

namespace mlxd {

// Checks of an option's values, whose errors name what is possible. CLI11's own name a range as
// "0.010000 to 86400.000000".
CLI::Validator in_range(double least, double most);
CLI::Validator whole_number(long long least, long long most);
CLI::Validator one_of(std::vector<std::string> words);

// What CLI11 says of a value, without the option that it blames.
std::string reason_of(const std::exception& error);

// What is wrong with the words that follow a command, before they are parsed: options that it does
// not have, each with a hint, in the order in which they were typed; or one without its value, or
// twice where it is taken once. A sentence each.
std::vector<std::string> mistakes_in(const CLI::App& command, std::span<const std::string> words);

// Where options get their values from beside the command line: first variables, then a file. Each
// is told with its place when it cannot be used.
//
// The variables are those of the options' envname. They are taken out of CLI11's hands, which would
// blame the option for what a variable holds.
class Variables {
 public:
  explicit Variables(CLI::App& app);  // of all its commands
  // Gives the options of a command what their variables hold, unless they were given. Throws
  // StartupError that names the variable.
  void apply(CLI::App& command) const;
  // MLXD_* variables that no command knows, a sentence each.
  std::vector<std::string> unknown() const;
  void show() const;  // in CLI11's help, from here on

 private:
  struct Known {
    CLI::Option* option;
    std::string name;
  };
  std::vector<Known> known_;
};

// Gives every option that neither the command line nor a variable has set the value of its key in a
// TOML file. Throws StartupError that names the file, and the line or the key.
void read_config_file(CLI::App& command, const std::string& path);

}  // namespace mlxd
