#include "cli/cli.h"

#include <cstdio>
#include <exception>
#include <new>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "backend/backends.h"
#include "backend/cpu/kernels.h"
#include "cli/version.h"

namespace mlxd {
namespace {

std::string version_text() {
  return fmt::format("mlxd {} ({})\nbackends: {}\ninstruction set of the cpu backend here: {}",
                     kVersion, kBuildType, available_backends(), cpu::find_kernels("")->name);
}

void add_model_option(CLI::App& app, std::string& model) {
  app.add_option("--model,-m", model,
                 "a .gguf file, a folder with safetensors, or an id in $MLXD_MODELS_DIR or the "
                 "Hugging Face cache")
      ->envname("MLXD_MODEL")
      ->required();
}

}  // namespace

int run_command_line(int argc, char** argv) {
  adopt_mlx_server_environment();
  CLI::App app(
      "mlxd: a native inference server for MLX and GGUF models with the OpenAI API.\n"
      "  mlxd serve --model model.gguf     then point any OpenAI client at "
      "http://127.0.0.1:10242/v1");
  app.name("mlxd");
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);

  ServeSettings serve;
  CLI::App* serve_command = app.add_subcommand("serve", "serve models over HTTP");
  serve_command->footer(
      "Every option is also an environment variable (shown beside it) and, without the leading\n"
      "dashes, a key of the file given by --config (TOML). A flag wins over a variable, and a\n"
      "variable over the file. mlx-manager's MLX_SERVER_* variables are understood.");
  add_serve_options(*serve_command, serve);

  ChatSettings chat;
  CLI::App* chat_command = app.add_subcommand("chat", "talk to a model in this terminal");
  chat_command->footer("Ctrl-C stops an answer; Ctrl-D, /exit or Ctrl-C at the prompt ends.");
  add_model_option(*chat_command, chat.model);
  chat_command->add_option("--system", chat.system, "the system message");
  chat_command->add_option("--seed", chat.seed, "the same seed gives the same answers");
  chat_command->add_option("--temperature", chat.temperature, "0 is greedy")
      ->check(CLI::Range(0.0f, 2.0f))
      ->capture_default_str();
  chat_command->add_option("--max-tokens", chat.max_tokens, "tokens of an answer at most")
      ->check(CLI::Range(1, 1 << 20));
  add_engine_options(*chat_command, chat.engine);

  BenchSettings bench;
  bench.engine.max_draft_tokens = 0;
  CLI::App* bench_command =
      app.add_subcommand("bench", "measure prompt and generation speed, without HTTP");
  bench_command->footer(
      "Generation is measured token by token: --max-draft-tokens is 0 here unless it is given,\n"
      "since what follows a synthetic prompt repeats itself more than most answers do.");
  add_model_option(*bench_command, bench.model);
  bench_command->add_option("--prompt", bench.prompt_tokens, "tokens of the prompt that is read")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  bench_command->add_option("--gen", bench.generated_tokens, "tokens that are generated")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  bench_command->add_option("--depth", bench.depth, "tokens of context when generation begins")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  bench_command
      ->add_option("--batch", bench.batch_sizes, "sequences generated together, e.g. 1,8,16")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  bench_command->add_option("--repeat", bench.repeat, "runs; the median is reported")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  bench_command->add_flag("--json", bench.json, "one JSON object a line");
  add_engine_options(*bench_command, bench.engine);

  InspectSettings inspect;
  CLI::App* inspect_command =
      app.add_subcommand("inspect", "what model files hold, and the memory that they need");
  inspect_command->footer(
      "The options are those of serve that bear on memory, with its variables: what is told of\n"
      "memory is what serve would take with them, all files served together.");
  inspect_command
      ->add_option("FILE", inspect.models, "a .gguf file, a folder, or an id; or several")
      ->required();
  inspect_command->add_flag("--json", inspect.json, "one JSON object a line, a line for each file");
  add_memory_options(*inspect_command, inspect.engine);
  add_prefix_cache_dir(*inspect_command, inspect.engine);
  add_max_connections(*inspect_command, inspect.max_connections);

  const auto is_asked_for = [&](const CLI::App* command) { return command->check_name(argv[1]); };
  if (argc > 1 && argv[1][0] != '-' && app.get_subcommands(is_asked_for).empty()) {
    std::fprintf(stderr, "mlxd: there is no command %s; there are serve, chat, bench and inspect\n",
                 argv[1]);
    return 1;
  }
  try {
    app.parse(argc, argv);
    if (*serve_command) {
      if (!serve.config.empty()) read_config_file(*serve_command, serve.config);
      return run_serve(serve);
    }
    if (*chat_command) return run_chat(chat);
    if (*bench_command) return run_bench(bench);
    return run_inspect(inspect);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  } catch (const std::bad_alloc&) {
    std::fputs("mlxd: out of memory; a smaller model or --kv-cache-gb needs less\n", stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mlxd: %s\n", error.what());
  }
  return 1;
}

}  // namespace mlxd
