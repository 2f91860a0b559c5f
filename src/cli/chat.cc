#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/local_model.h"
#include "serve/served_model.h"

namespace mlxd {
namespace {

// Set by Ctrl-C; an answer under way stops, a prompt ends the program.
std::atomic<bool> interrupted{false};

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = true; };
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: reading the prompt must return
  ::sigaction(SIGINT, &action, nullptr);
}

boost::json::object message(std::string_view role, std::string_view content) {
  return {{"role", role}, {"content", content}};
}

struct Answer {
  std::string text;
  int tokens = 0;
  double first_token_seconds = 0, seconds = 0;
};

// Streams one answer to stdout.
Result<Answer> stream_answer(TextModel& model, GenerateRequest request) {
  const TimePoint start = Clock::now();
  auto started = model.start(std::move(request), {});
  if (!started) return started.error();
  const std::unique_ptr<Generation> generation = *std::move(started);
  Answer answer;
  interrupted = false;
  while (true) {
    if (interrupted) {
      generation->cancel();
      break;
    }
    const auto event = generation->next_until(Clock::now() + std::chrono::milliseconds(50));
    if (!event) continue;
    if (const auto* delta = std::get_if<TextDelta>(&*event)) {
      if (delta->channel != AnswerChannel::content || delta->text.empty()) continue;
      if (answer.text.empty()) answer.first_token_seconds = seconds_between(start, Clock::now());
      answer.text += delta->text;
      std::fwrite(delta->text.data(), 1, delta->text.size(), stdout);
      std::fflush(stdout);
    } else if (const auto* last = std::get_if<GenerationEnd>(&*event)) {
      if (last->outcome != RequestFinished::Outcome::completed) return last->error;
      answer.tokens = last->usage.completion_tokens;
      break;
    }
  }
  answer.seconds = seconds_between(start, Clock::now());
  return answer;
}

}  // namespace

int run_chat(const ChatSettings& settings) {
  LocalModels models({parse_model_setting(settings.model)}, settings.engine);
  admit(models.memory());
  print_warnings(models.memory());
  const auto model = models.load(0);
  if (!model->chat_template) {
    throw StartupError(fmt::format(
        "{} is a base model without a chat template; serve it and use /v1/completions", model->id));
  }
  const bool terminal = ::isatty(STDIN_FILENO) && ::isatty(STDOUT_FILENO);
  const std::uint64_t seed = settings.seed.value_or(std::random_device{}());
  catch_interrupts();
  if (terminal) {
    std::printf("%s. Ctrl-C stops an answer, Ctrl-D ends.\n", model->id.c_str());
  }

  boost::json::array messages;
  if (!settings.system.empty()) messages.push_back(message("system", settings.system));
  for (std::uint64_t turn = 0;; ++turn) {
    if (terminal) {
      std::fputs("\n\x1b[1m> \x1b[0m", stdout);
      std::fflush(stdout);
    }
    std::string line;
    if (!std::getline(std::cin, line) || line == "/exit") break;
    if (line.empty()) continue;
    messages.push_back(message("user", replace_invalid_utf8(line)));

    GenerateRequest request;
    request.prompt = ChatPrompt{boost::json::serialize(messages)};
    request.job.id = fmt::format("chat-{}", turn);
    request.job.sampling.temperature = settings.temperature;
    request.job.sampling.seed = seed + turn;
    request.job.max_tokens = settings.max_tokens;
    const Result<Answer> answer = stream_answer(*model, std::move(request));
    if (!answer) {
      // The turn failed (a context that is full, say); the conversation goes on without it.
      messages.pop_back();
      std::fprintf(stderr, "mlxd: %s\n", answer.error().message.c_str());
      if (!terminal) return 1;
      continue;
    }
    messages.push_back(message("assistant", answer->text));
    std::fputs("\n", stdout);
    if (terminal && answer->tokens > 0) {
      std::printf("\x1b[2m%d tokens, %.1f tok/s, first after %.0f ms\x1b[0m\n", answer->tokens,
                  answer->tokens / answer->seconds, answer->first_token_seconds * 1e3);
    }
  }
  if (terminal) std::fputs("\n", stdout);
  return 0;
}

}  // namespace mlxd
