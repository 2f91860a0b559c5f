#include "cli/option_values.h"

#include <algorithm>
#include <cctype>
#include <cfloat>  // toml++ comes by it too late on macOS
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "base/error.h"
#include "cli/suggestions.h"

extern char** environ;

namespace mlxd {
namespace {

std::vector<std::string> names_of(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

bool takes_a_value(const CLI::Option& option) { return option.get_items_expected_min() > 0; }

// What a flag may be set to where it has a value: in a variable, or after "=".
bool is_boolean(std::string_view text) {
  constexpr std::string_view kWords[] = {"true", "false", "on", "off", "yes", "no", "1", "0"};
  return std::ranges::find(kWords, text) != std::end(kWords);
}

bool is_list(const CLI::Option& option) {
  return option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll ||
         option.get_expected_max() > 1;
}

// Models are named by --model or as files alike.
bool is_given(const CLI::App& command, const CLI::Option& option) {
  if (option.count() > 0) return true;
  const CLI::Option* files = command.get_option_no_throw("FILE");
  return option.check_name("--model") && files != nullptr && files->count() > 0;
}

// `said` is how the value stands where it comes from: "MLXD_PORT=x".
void give(CLI::Option& option, const std::vector<std::string>& values, const std::string& said) {
  if (!takes_a_value(option) && !is_boolean(values.front())) {
    throw StartupError(fmt::format("{}: it must be true or false", said));
  }
  try {
    for (const std::string& value : values) option.add_result(value);
    option.run_callback();
  } catch (const CLI::ParseError& error) {
    throw StartupError(fmt::format("{}: {}", said, reason_of(error)));
  }
}

// A TOML value as an option takes it; nothing for what no option takes.
std::optional<std::string> as_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* boolean = node.as_boolean()) return boolean->get() ? "true" : "false";
  return std::nullopt;
}

constexpr std::string_view kPrefix = "MLXD_";

// "--ctx-size" of "MLXD_CTX_SIZE".
std::string flag_of(const std::string& variable) {
  std::string flag = "--";
  for (const char c :
       std::string_view(variable).substr(std::min(kPrefix.size(), variable.size()))) {
    flag += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return flag;
}

std::string line_of(const std::string& path, std::size_t number) {
  std::ifstream file(path);
  std::string line;
  for (std::size_t i = 0; i < number && std::getline(file, line); ++i) {
  }
  return line;
}

toml::table parse_toml(const std::string& path) {
  if (!std::ifstream(path)) {
    throw StartupError(fmt::format("cannot read the settings of --config {}", path));
  }
  toml::parse_result parsed = toml::parse_file(path);
  if (parsed) return std::move(parsed).table();
  const auto line = parsed.error().source().begin.line;
  throw StartupError(fmt::format("{}, line {}: {} (\"{}\")", path, line,
                                 parsed.error().description(), line_of(path, line)));
}

}  // namespace

std::string reason_of(const std::exception& error) {
  const std::string text = error.what();
  // "--port: the reason"
  const std::size_t colon = text.starts_with('-') ? text.find(": ") : std::string::npos;
  return colon == std::string::npos ? text : text.substr(colon + 2);
}

CLI::Validator in_range(double least, double most) {
  return CLI::Validator(
      [least, most](std::string& text) {
        double value = 0;
        if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most) {
          return std::string();
        }
        return fmt::format("{} is not a number from {} to {}", text, least, most);
      },
      fmt::format("{}..{}", least, most));
}

CLI::Validator whole_number(long long least, long long most) {
  return CLI::Validator(
      [least, most](std::string& text) {
        long long value = 0;
        if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most) {
          return std::string();
        }
        return fmt::format("{} is not a whole number from {} to {}", text, least, most);
      },
      fmt::format("{}..{}", least, most));
}

CLI::Validator one_of(std::vector<std::string> words) {
  const std::string list = fmt::format("{}", fmt::join(words, ", "));
  return CLI::Validator(
      [words, list](std::string& text) {
        if (std::ranges::find(words, text) != words.end()) return std::string();
        return fmt::format("{} is not one of {}", text, list);
      },
      fmt::format("{}", fmt::join(words, "|")));
}

std::vector<std::string> mistakes_in(const CLI::App& command, std::span<const std::string> words) {
  std::vector<std::string> mistakes;
  std::map<const CLI::Option*, int> uses;
  const std::vector<std::string> names = names_of(command);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") break;
    // "-" is standard input, "-3" a number.
    if (word.size() < 2 || word[0] != '-' || (word[1] >= '0' && word[1] <= '9')) continue;
    const bool is_long = word[1] == '-';
    const std::string name = word.substr(0, word.find('='));
    const CLI::Option* option = command.get_option_no_throw(name);
    // Of one letter, its value may follow without a space: -mFILE.
    if (option == nullptr && !is_long && word.size() > 2 && hint_for_option(name, names).empty()) {
      option = command.get_option_no_throw(word.substr(0, 2));
      if (option != nullptr && takes_a_value(*option)) {
        ++uses[option];
        continue;
      }
      option = nullptr;
    }
    if (option == nullptr) {
      mistakes.push_back(fmt::format("{} has no option {}{}", command.get_name(), name,
                                     hint_for_option(name, names)));
      continue;
    }
    if (!takes_a_value(*option)) {
      if (name.size() < word.size() && !is_boolean(word.substr(name.size() + 1))) {
        mistakes.push_back(
            fmt::format("{} is set by its name alone: {} says too much", name, word));
      }
      continue;
    }
    if (name.size() == word.size() && ++i >= words.size()) {
      mistakes.push_back(fmt::format("{} needs a value", name));
    }
    if (++uses[option] == 2 && !is_list(*option)) {
      mistakes.push_back(fmt::format("{} is given twice, and takes one value", name));
    }
  }
  return mistakes;
}

Variables::Variables(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands({})) {
    for (CLI::Option* option : command->get_options()) {
      if (option->get_envname().empty()) continue;
      known_.push_back({option, option->get_envname()});
      option->envname("");
    }
  }
}

void Variables::show() const {
  for (const Known& known : known_) known.option->envname(known.name);
}

void Variables::apply(CLI::App& command) const {
  for (CLI::Option* option : command.get_options()) {
    const auto known =
        std::ranges::find_if(known_, [&](const Known& one) { return one.option == option; });
    if (known == known_.end() || is_given(command, *option)) continue;
    const char* value = std::getenv(known->name.c_str());
    if (value == nullptr || *value == '\0') continue;
    give(*option, {value}, fmt::format("{}={}", known->name, value));
  }
}

std::vector<std::string> Variables::unknown() const {
  std::vector<std::string> flags;
  for (const Known& known : known_) flags.push_back(flag_of(known.name));
  std::vector<std::string> sentences;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string name(text.substr(0, text.find('=')));
    const std::string flag = flag_of(name);
    if (!name.starts_with(kPrefix) || name == "MLXD_MODELS_DIR" ||
        std::ranges::find(flags, flag) != flags.end()) {
      continue;
    }
    std::string hint = hint_for_option(flag, flags);
    for (const Known& known : known_) {  // "; did you mean --port?"
      const std::size_t place = hint.find(flag_of(known.name) + "?");
      const bool is_last = hint.ends_with(" " + flag_of(known.name));
      if (place == std::string::npos && !is_last) continue;
      hint.replace(hint.rfind("--"), flag_of(known.name).size(), known.name);
      break;
    }
    sentences.push_back(fmt::format("the variable {} is no setting of mlxd{}", name, hint));
  }
  std::ranges::sort(sentences);
  return sentences;
}

void read_config_file(CLI::App& command, const std::string& path) {
  const toml::table settings = parse_toml(path);
  const std::vector<std::string> names = names_of(command);
  for (const auto& [key, node] : settings) {
    const std::string flag = "--" + std::string(key.str());
    const std::string where = fmt::format("{}, line {}", path, node.source().begin.line);
    CLI::Option* option = command.get_option_no_throw(flag);
    if (option == nullptr || node.is_table() || flag == "--config" || flag == "--help") {
      std::string hint = hint_for_option(flag, names);
      if (const auto dashes = hint.rfind("--"); dashes != std::string::npos) hint.erase(dashes, 2);
      throw StartupError(fmt::format("{}: there is no setting {}{} (mlxd serve --help lists them)",
                                     where, key.str(), hint));
    }
    if (is_given(command, *option)) continue;
    if (!takes_a_value(*option) && !node.is_boolean()) {
      throw StartupError(fmt::format("{}, {}: it must be true or false", where, key.str()));
    }
    std::vector<std::string> values;
    if (const toml::array* list = node.as_array()) {
      if (list->empty() && is_list(*option)) continue;
      for (const toml::node& item : *list) {
        const std::optional<std::string> text = as_text(item);
        if (text) values.push_back(*text);
      }
      if (values.size() != list->size() || !is_list(*option)) values.clear();
    } else if (const std::optional<std::string> text = as_text(node)) {
      values.push_back(*text);
    }
    if (values.empty()) {
      throw StartupError(
          fmt::format("{}: {} takes {}", where, key.str(),
                      is_list(*option) ? "a text, or a list of texts" : "one value"));
    }
    give(*option, values, fmt::format("{}, {}", where, key.str()));
  }
}

}  // namespace mlxd
