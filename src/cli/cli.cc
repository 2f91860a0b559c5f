#include "cli/cli.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <limits>
#include <memory>
#include <new>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backend/backends.h"
#include "backend/cpu/kernels.h"
#include "base/error.h"
#include "cli/completion.h"
#include "cli/messages.h"
#include "cli/option_values.h"
#include "cli/suggestions.h"
#include "cli/version.h"

namespace mlxd {
namespace {

std::string version_text() {
  return fmt::format("mlxd {} ({})\nbackends: {}\ninstruction set of the cpu backend here: {}",
                     kVersion, kBuildType, available_backends(), cpu::find_kernels("")->name);
}

// CLI11's help, with texts that end before an ordinary terminal does.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_desc(const CLI::Option* option) const override {
    constexpr std::size_t kWidth = 66;
    std::string text = option->get_description();
    for (std::size_t begin = 0; text.size() - begin > kWidth;) {
      const std::size_t space = text.rfind(' ', begin + kWidth);
      if (space == std::string::npos || space <= begin) break;
      text[space] = '\n';  // which CLI11 indents
      begin = space + 1;
    }
    return text;
  }
};

// The commands with their options, and what these are set to.
class CommandLine {
 public:
  CommandLine() {
    app_.name("mlxd");
    app_.set_version_flag("--version", version_text(), "the version, and what it was built with");
    app_.set_help_flag("-h,--help", "this text");
    app_.formatter(std::make_shared<HelpFormatter>());
    app_.get_formatter()->column_width(34);
    app_.get_formatter()->label("SUBCOMMAND", "COMMAND");
    app_.footer("mlxd help COMMAND, or mlxd COMMAND --help, lists the options of a command.");
    add_serve();
    add_run();
    add_chat();
    add_pull();
    add_list();
    add_processes();
    add_remove();
    add_bench();
    add_inspect();
    add_completion();
    app_.add_subcommand("help", "this text, or that of a command: mlxd help serve");
    for (CLI::App* command : app_.get_subcommands({})) command->group("Commands");
  }

  int run(std::vector<std::string> words);

 private:
  void add_serve();
  void add_run();
  void add_chat();
  void add_chat_options(CLI::App& command);
  void add_pull();
  void add_list();
  void add_processes();
  void add_remove();
  void add_bench();
  void add_inspect();
  void add_completion();
  std::vector<std::string> commands() const;
  CLI::App* find(const std::string& name);
  int help(const CLI::App& command);
  int refuse_command(const std::string& word);

  CLI::App app_{
      "mlxd: a native inference server for MLX and GGUF models with the OpenAI API.\n"
      "  mlxd run OWNER/NAME       fetch a model from the Hugging Face hub, and talk to it\n"
      "  mlxd serve model.gguf     then point any OpenAI client at http://127.0.0.1:10242/v1\n"
      "  mlxd chat model.gguf      or talk to it here"};
  ServeSettings serve_;
  ChatSettings chat_;
  PullSettings pull_;
  ListSettings list_;
  ProcessesSettings processes_;
  RemoveSettings remove_;
  BenchSettings bench_;
  InspectSettings inspect_;
  std::string shell_;  // whose completion is asked for
};

void CommandLine::add_serve() {
  CLI::App* command = app_.add_subcommand("serve", "serve models over HTTP");
  command->footer(
      "Every option is also an environment variable (shown beside it) and, without the leading\n"
      "dashes, a key of the file given by --config (TOML). A flag wins over a variable, and a\n"
      "variable over the file. mlx-manager's MLX_SERVER_* variables are understood.");
  add_serve_options(*command, serve_);
}

void CommandLine::add_chat() {
  CLI::App* command = app_.add_subcommand("chat", "talk to a model in this terminal");
  command->footer(
      "Ctrl-C stops an answer; Ctrl-D, /exit or Ctrl-C twice at the prompt ends. /help lists the\n"
      "commands that may be typed instead of a message: files to send, another model, the\n"
      "last answer anew. Where TERM names a terminal that can, lines are edited and remembered\n"
      "as in a shell, in $XDG_STATE_HOME/mlxd/history (without it ~/.local/state), and Markdown\n"
      "is rendered; NO_COLOR turns colours off.");
  add_chat_options(*command);
}

void CommandLine::add_run() {
  CLI::App* command = app_.add_subcommand(
      "run", "talk to a model of the hub, which is fetched when it is not there");
  command->footer(
      "What chat does, but that an id of the hub (owner/name, owner/name:Q4_K_M) need not lie in\n"
      "the cache yet; mlxd help pull tells of ids.");
  add_chat_options(*command);
}

void CommandLine::add_chat_options(CLI::App& command) {
  add_models(command, chat_.models);
  command.add_option("--system", chat_.system, "the system message");
  command.add_option("--seed", chat_.seed, "the same seed gives the same answers")
      ->check(whole_number(0, std::numeric_limits<long long>::max()).description(""));
  command.add_option("--temperature", chat_.temperature, "0 is greedy")
      ->check(in_range(0, 2))
      ->capture_default_str();
  command.add_option("--max-tokens", chat_.max_tokens, "tokens of an answer at most")
      ->check(whole_number(1, 1 << 20));
  add_engine_options(command, chat_.engine);
}

void CommandLine::add_pull() {
  CLI::App* command = app_.add_subcommand("pull", "fetch models from the Hugging Face hub");
  command->footer(
      "An id is owner/name; owner/name:Q4_K_M for one of several .gguf files (Q4_K_M where none\n"
      "is named); @REVISION after it for a branch, a tag or a commit. Models go where\n"
      "huggingface_hub has them too, and its variables count: HF_HOME and HF_HUB_CACHE (the\n"
      "place), HF_TOKEN, HF_ENDPOINT (a mirror), HF_HUB_OFFLINE; and HTTPS_PROXY. What was broken\n"
      "off is taken up again. Standard output is the path of each model.");
  command->add_option("ID", pull_.ids, "owner/name[:QUANT][@REVISION]");
  command->add_option("--connections", pull_.connections, "how many at a time")
      ->check(whole_number(1, 32))
      ->capture_default_str();
}

void CommandLine::add_list() {
  CLI::App* command = app_.add_subcommand("list", "the models that were fetched from the hub");
  command->add_flag("--json", list_.json, "one JSON object a line");
}

void CommandLine::add_processes() {
  CLI::App* command = app_.add_subcommand("ps", "what a running server has loaded");
  command->add_option("URL", processes_.url, "where it listens")->capture_default_str();
  command->add_option("--admin-key", processes_.admin_key, "its key, where it has one")
      ->envname("MLXD_ADMIN_KEY");
  command->add_flag("--json", processes_.json, "as GET /v1/admin/models answers");
}

void CommandLine::add_remove() {
  CLI::App* command = app_.add_subcommand("rm", "remove models that were fetched from the hub");
  command->footer(
      "owner/name removes all that is kept of it, owner/name:Q4_K_M that quantisation, and\n"
      "owner/name@REVISION that revision. Nothing is asked.");
  command->add_option("ID", remove_.ids, "owner/name[:QUANT][@REVISION], as mlxd list shows it");
}

void CommandLine::add_bench() {
  bench_.engine.max_draft_tokens = 0;
  CLI::App* command =
      app_.add_subcommand("bench", "measure prompt and generation speed, without HTTP");
  command->footer(
      "Generation is measured token by token: --max-draft-tokens is 0 here unless it is given,\n"
      "since what follows a synthetic prompt repeats itself more than most answers do.");
  add_models(*command, bench_.models);
  command->add_option("--prompt", bench_.prompt_tokens, "tokens of the prompt that is read")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--gen", bench_.generated_tokens, "tokens that are generated")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--depth", bench_.depth, "tokens of context when generation begins")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--batch", bench_.batch_sizes, "sequences generated together, e.g. 1,8,16")
      ->delimiter(',')
      ->check(whole_number(1, 4096));
  command->add_option("--repeat", bench_.repeat, "runs; the median is reported")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", bench_.json, "one JSON object a line");
  add_engine_options(*command, bench_.engine);
}

void CommandLine::add_inspect() {
  CLI::App* command =
      app_.add_subcommand("inspect", "what model files hold, and the memory that they need");
  command->footer(
      "The options are those of serve that bear on memory, with its variables: what is told of\n"
      "memory is what serve would take with them, all files served together.");
  add_models(*command, inspect_.models);
  command->add_flag("--json", inspect_.json, "one JSON object a line, a line for each file");
  add_memory_options(*command, inspect_.engine);
  add_prefix_cache_dir(*command, inspect_.engine);
  add_max_connections(*command, inspect_.max_connections);
}

void CommandLine::add_completion() {
  CLI::App* command =
      app_.add_subcommand("completion", "a script with which a shell completes all this");
  command->footer(
      "Packages bring it along. Else, for this session: eval \"$(mlxd completion bash)\" (or zsh), "
      "or\n"
      "mlxd completion fish | source");
  command->add_option("SHELL", shell_, "bash, zsh or fish")->required();
}

std::vector<std::string> CommandLine::commands() const {
  std::vector<std::string> names;
  for (const CLI::App* command : app_.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

CLI::App* CommandLine::find(const std::string& name) {
  const auto found = app_.get_subcommands(
      [&name](const CLI::App* command) { return command->get_name() == name; });
  return found.empty() ? nullptr : found.front();
}

int CommandLine::help(const CLI::App& command) {
  const bool is_all = &command == &app_ || command.get_name() == "help";
  std::fputs((is_all ? app_.help() : command.help("mlxd")).c_str(), stdout);
  return 0;
}

int CommandLine::refuse_command(const std::string& word) {
  if (word.starts_with('-')) {
    for (const CLI::App* command : app_.get_subcommands({})) {
      const std::string name = word.substr(0, word.find('='));
      if (command->get_option_no_throw(name) == nullptr) continue;
      print_error(fmt::format("{} is an option of a command, and comes after it: mlxd {} {}", name,
                              command->get_name(), name));
      return 1;
    }
    print_error(fmt::format("there is no option {}; mlxd help lists the commands", word));
    return 1;
  }
  const std::vector<std::string> names = commands();
  print_error(fmt::format("there is no command {}{} (there are {})", word,
                          hint_for_command(word, names), fmt::join(names, ", ")));
  return 1;
}

int CommandLine::run(std::vector<std::string> words) {
  const Variables variables(app_);
  const auto help_of = [&](const CLI::App& command) {
    variables.show();
    return help(command);
  };
  if (words.empty()) {
    help_of(app_);
    return 1;  // nothing was done
  }
  const std::string first = words.front();
  if (first == "--help" || first == "-h") return help_of(app_);
  if (first == "--version") {
    std::printf("%s\n", version_text().c_str());
    return 0;
  }
  CLI::App* command = find(first);
  if (command == nullptr) return refuse_command(first);
  words.erase(words.begin());
  if (first == "help") {
    if (words.empty() || words.front().starts_with('-')) return help_of(app_);
    command = find(words.front());
    return command == nullptr ? refuse_command(words.front()) : help_of(*command);
  }
  const auto end = std::ranges::find(words, "--");
  if (std::any_of(words.begin(), end, [](const auto& w) { return w == "--help" || w == "-h"; })) {
    return help_of(*command);
  }
  const std::vector<std::string> mistakes = mistakes_in(*command, words);
  for (const std::string& mistake : mistakes) print_error(mistake);
  if (!mistakes.empty()) return 1;

  std::ranges::reverse(words);  // as CLI11 takes them
  try {
    command->parse(words);
  } catch (const CLI::ParseError& error) {
    throw StartupError(error.what());
  }
  variables.apply(*command);
  if (first == "serve") {
    if (!serve_.config.empty()) read_config_file(*command, serve_.config);
    serve_.warnings = variables.unknown();
    return run_serve(serve_);
  }
  for (const std::string& warning : variables.unknown()) print_warning(warning);
  chat_.pulls = first == "run";
  if (first == "chat" || first == "run") return run_chat(chat_);
  if (first == "pull") return run_pull(pull_);
  if (first == "list") return run_list(list_);
  if (first == "ps") return run_processes(processes_);
  if (first == "rm") return run_remove(remove_);
  if (first == "bench") return run_bench(bench_);
  if (first == "completion") {
    std::fputs(completion_script(app_, shell_).c_str(), stdout);
    return 0;
  }
  return run_inspect(inspect_);
}

}  // namespace

int run_command_line(int argc, char** argv) {
  try {
    adopt_mlx_server_environment();
    return CommandLine().run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::bad_alloc&) {
    print_error("out of memory; a smaller model or --kv-cache-gb needs less");
  } catch (const std::exception& error) {
    print_error(error.what());
  }
  return 1;
}

}  // namespace mlxd
