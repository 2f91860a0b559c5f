#include "cli/completion.h"

#include <iterator>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"

namespace mlxd {
namespace {

struct Entry {                       // an option of a command
  std::vector<std::string> names;    // "--model", "-m"
  std::vector<std::string> choices;  // what its value may be, where that is a list
  std::string text;
  bool takes_value;
};

struct Command {
  std::string name;
  std::string text;
  std::vector<Entry> options;
};

// The words of "TEXT:text|json", as an option's help shows them.
std::vector<std::string> choices_of(const std::string& type) {
  if (type.find('|') == std::string::npos) return {};
  const std::size_t colon = type.rfind(':');
  return CLI::detail::split(colon == std::string::npos ? type : type.substr(colon + 1), '|');
}

std::vector<Entry> options_of(const CLI::App& app) {
  std::vector<Entry> entries;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) continue;
    Entry entry{{},
                choices_of(option->get_type_name()),
                option->get_description(),
                option->get_items_expected_min() > 0};
    for (const std::string& name : option->get_lnames()) entry.names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) entry.names.push_back("-" + name);
    if (!entry.names.empty()) entries.push_back(std::move(entry));
  }
  return entries;
}

std::vector<Command> commands_of(const CLI::App& app) {
  std::vector<Command> commands;
  for (const CLI::App* command : app.get_subcommands({})) {
    commands.push_back({command->get_name(), command->get_description(), options_of(*command)});
  }
  return commands;
}

std::string joined_names(const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.name);
  return fmt::format("{}", fmt::join(names, " "));
}

// `text` between apostrophes, each of `special` with a backslash before it.
std::string in_apostrophes(std::string_view text, std::string_view special = "") {
  std::string out = "'";
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) out += '\\';
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c == '\n' ? ' ' : c;
    }
  }
  return out + "'";
}

std::string in_brackets(std::string text) {
  for (const char* bracket : {"[", "]"}) {
    text = CLI::detail::find_and_replace(text, bracket, std::string("\\") + bracket);
  }
  return text;
}

std::string bash_script(const CLI::App& app) {
  const std::vector<Command> commands = commands_of(app);
  std::string values, words;
  for (const Command& command : commands) {
    std::vector<std::string> names, free_values;
    for (const Entry& option : command.options) {
      names.insert(names.end(), option.names.begin(), option.names.end());
      for (const std::string& name : option.names) {
        const std::string place = fmt::format("{}:{}", command.name, name);
        if (!option.choices.empty()) {
          fmt::format_to(std::back_inserter(values), "    {}) words='{}' ;;\n", place,
                         fmt::join(option.choices, " "));
        } else if (option.takes_value) {
          free_values.push_back(place);
        }
      }
    }
    if (!free_values.empty()) {
      fmt::format_to(std::back_inserter(values), "    {}) return ;;\n",
                     fmt::join(free_values, " | "));
    }
    fmt::format_to(std::back_inserter(words), "      {}) words='{}' ;;\n", command.name,
                   fmt::join(names, " "));
  }
  // An answer of nothing is one of files, by -o default.
  return fmt::format(R"(# Completion of mlxd in bash: mlxd completion bash
_mlxd() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W '{0} --help --version' -- "$current"))
    return
  fi
  case ${{COMP_WORDS[1]}}:$before in
{1}  esac
  if [ -z "$words" ] && [ "${{current#-}}" != "$current" ]; then
    case ${{COMP_WORDS[1]}} in
{2}    esac
  elif [ "$COMP_CWORD" = 2 ]; then
    case ${{COMP_WORDS[1]}} in
      help) words='{0}' ;;
      completion) words='bash zsh fish' ;;
    esac
  fi
  [ -z "$words" ] || COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _mlxd mlxd
)",
                     joined_names(commands), values, words);
}

std::string zsh_script(const CLI::App& app) {
  const std::vector<Command> commands = commands_of(app);
  std::string described, cases;
  for (const Command& command : commands) {
    fmt::format_to(std::back_inserter(described), "    {}\n",
                   in_apostrophes(command.name + ":" + command.text));
    std::string options;
    for (const Entry& option : command.options) {
      for (const std::string& name : option.names) {
        std::string value;
        if (!option.choices.empty()) {
          value = fmt::format(":value:({})", fmt::join(option.choices, " "));
        } else if (option.takes_value) {
          value = ":value:_files";
        }
        fmt::format_to(std::back_inserter(options), "        {} \\\n",
                       in_apostrophes("*" + name + "[" + in_brackets(option.text) + "]" + value));
      }
    }
    std::string rest = "*:file:_files";
    if (command.name == "help") rest = fmt::format("1:command:({})", joined_names(commands));
    if (command.name == "completion") rest = "1:shell:(bash zsh fish)";
    fmt::format_to(std::back_inserter(cases), "    {}) _arguments \\\n{}        '{}' ;;\n",
                   command.name, options, rest);
  }
  return fmt::format(R"(#compdef mlxd
# Completion of mlxd in zsh: mlxd completion zsh
_mlxd() {{
  local -a commands=(
{})
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
{}  esac
}}
if [ "$funcstack[1]" = _mlxd ]; then _mlxd "$@"; else compdef _mlxd mlxd; fi
)",
                     described, cases);
}

std::string fish_script(const CLI::App& app) {
  const std::vector<Command> commands = commands_of(app);
  std::string script = "# Completion of mlxd in fish: mlxd completion fish\n";
  const auto out = std::back_inserter(script);
  for (const Command& command : commands) {
    fmt::format_to(out, "complete -c mlxd -n __fish_use_subcommand -f -a {} -d {}\n", command.name,
                   in_apostrophes(command.text, "\\"));
    for (const Entry& option : command.options) {
      std::string names;
      for (const std::string& name : option.names) {
        names += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      std::string value = option.takes_value ? " -r" : "";
      if (!option.choices.empty()) {
        value = fmt::format(" -x -a '{}'", fmt::join(option.choices, " "));
      }
      fmt::format_to(out, "complete -c mlxd -n '__fish_seen_subcommand_from {}'{}{} -d {}\n",
                     command.name, names, value, in_apostrophes(option.text, "\\"));
    }
  }
  fmt::format_to(out, "complete -c mlxd -n '__fish_seen_subcommand_from help' -f -a '{}'\n",
                 joined_names(commands));
  fmt::format_to(
      out, "complete -c mlxd -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'\n");
  return script;
}

}  // namespace

std::string completion_script(const CLI::App& app, std::string_view shell) {
  if (shell == "bash") return bash_script(app);
  if (shell == "zsh") return zsh_script(app);
  if (shell == "fish") return fish_script(app);
  throw StartupError(
      fmt::format("there are completions for bash, zsh and fish, not for \"{}\"", shell));
}

}  // namespace mlxd
