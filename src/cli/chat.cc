#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/hub_models.h"
#include "cli/line_reader.h"
#include "cli/messages.h"
#include "cli/version.h"
#include "models/local_models.h"
#include "serve/served_model.h"

namespace mlxd {
namespace {

constexpr std::string_view kHelp =
    "/help           this list\n"
    "/clear          forget the conversation, and begin again\n"
    "/system TEXT    begin again with this system message; without TEXT, with none\n"
    "/exit           leave, as does Ctrl-D, or Ctrl-C twice at the prompt\n"
    "//TEXT          send a message that begins with a slash\n"
    "Ctrl-C stops an answer that is under way.\n";

// Ctrl-C and Ctrl-C again within this time are meant as two.
constexpr auto kTwice = std::chrono::seconds(3);

// A turn that failed (a context that is full, say): the conversation goes on without it.
struct TurnFailed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Answer {
  std::string text;
  int tokens = 0;
  double first_token_seconds = 0, seconds = 0;
  bool stopped = false;  // by Ctrl-C
};

// Streams one answer to stdout. Throws TurnFailed with the request's own error text.
Answer stream_answer(TextModel& model, GenerateRequest request, Interrupts& interrupts) {
  const TimePoint start = Clock::now();
  auto started = model.start(std::move(request), {});
  if (!started) throw TurnFailed(started.error().message);
  const std::unique_ptr<Generation> generation = *std::move(started);
  Answer answer;
  bool reasons = false;  // on stderr, as all that is not the answer
  while (true) {
    if (interrupts.take()) {
      generation->cancel();
      answer.stopped = true;
      break;
    }
    const auto event = generation->next_until(Clock::now() + std::chrono::milliseconds(50));
    if (!event) continue;
    if (const auto* delta = std::get_if<TextDelta>(&*event)) {
      if (delta->channel == AnswerChannel::reasoning) {
        reasons = true;
        std::fwrite(delta->text.data(), 1, delta->text.size(), stderr);
      }
      if (delta->channel != AnswerChannel::content || delta->text.empty()) continue;
      if (std::exchange(reasons, false)) std::fputs("\n\n", stderr);
      if (answer.text.empty()) answer.first_token_seconds = seconds_between(start, Clock::now());
      answer.text += delta->text;
      std::fwrite(delta->text.data(), 1, delta->text.size(), stdout);
      std::fflush(stdout);
    } else if (const auto* last = std::get_if<GenerationEnd>(&*event)) {
      if (last->outcome != RequestFinished::Outcome::completed) {
        throw TurnFailed(last->error.message);
      }
      answer.tokens = last->usage.completion_tokens;
      break;
    }
  }
  answer.seconds = seconds_between(start, Clock::now());
  return answer;
}

// What was said so far, and the turns to come.
class Conversation {
 public:
  Conversation(const ChatSettings& settings, TextModel& model, bool terminal)
      : settings_(settings),
        model_(model),
        terminal_(terminal),
        seed_(settings.seed.value_or(std::random_device{}())),
        interrupts_(terminal) {
    begin(settings.system);
  }

  int run();

 private:
  enum class Next { go_on, leave, fail };

  void begin(const std::string& system);
  Next command(const std::string& line);
  Next turn(const std::string& text);
  void tell(std::string_view text) const {  // beside the answers, where a person reads them
    if (terminal_) std::printf("\x1b[2m%.*s\x1b[0m", static_cast<int>(text.size()), text.data());
  }

  const ChatSettings& settings_;
  TextModel& model_;
  const bool terminal_;
  const std::uint64_t seed_;
  Interrupts interrupts_;
  std::string system_;
  boost::json::array messages_;
  std::uint64_t turns_ = 0;
};

boost::json::object message(std::string_view role, std::string_view content) {
  return {{"role", role}, {"content", replace_invalid_utf8(content)}};
}

void Conversation::begin(const std::string& system) {
  system_ = system;
  messages_.clear();
  if (!system.empty()) messages_.push_back(message("system", system));
}

Conversation::Next Conversation::command(const std::string& line) {
  const std::string name = line.substr(0, line.find(' '));
  const std::string text = name.size() < line.size() ? line.substr(name.size() + 1) : "";
  if (name == "/exit" || name == "/quit" || name == "/bye") return Next::leave;
  if (name == "/help" || name == "/?") {
    std::printf("%.*s", static_cast<int>(kHelp.size()), kHelp.data());
  } else if (name == "/clear") {
    begin(system_);
    tell("the conversation begins again\n");
  } else if (name == "/system") {
    begin(text);
    tell(text.empty() ? "the conversation begins again, without a system message\n"
                      : "the conversation begins again, with this system message\n");
  } else {
    print_error(
        fmt::format("there is no command {}; /help lists those there are, and //{} sends "
                    "it as a message",
                    name, name.substr(1)));
    return terminal_ ? Next::go_on : Next::fail;
  }
  return Next::go_on;
}

Conversation::Next Conversation::turn(const std::string& text) {
  messages_.push_back(message("user", text));
  GenerateRequest request;
  request.prompt = ChatPrompt{boost::json::serialize(messages_)};
  request.job.id = fmt::format("chat-{}", turns_);
  request.job.sampling.temperature = settings_.temperature;
  request.job.sampling.seed = seed_ + turns_++;
  request.job.max_tokens = settings_.max_tokens;
  try {
    const Answer answer = stream_answer(model_, std::move(request), interrupts_);
    std::fputs("\n", stdout);
    if (answer.stopped && answer.text.empty()) {
      messages_.pop_back();
      tell("stopped before the answer began; your message is taken back\n");
      return Next::go_on;
    }
    messages_.push_back(message("assistant", answer.text));
    if (answer.stopped) {
      tell("stopped; what was said so far stays in the conversation\n");
    } else if (answer.tokens > 0) {
      tell(fmt::format("{} tokens, {:.1f} tok/s, first after {:.0f} ms\n", answer.tokens,
                       answer.tokens / answer.seconds, answer.first_token_seconds * 1e3));
    }
    return Next::go_on;
  } catch (const TurnFailed& error) {
    messages_.pop_back();
    print_error(error.what());
    return terminal_ ? Next::go_on : Next::fail;
  }
}

int Conversation::run() {
  if (terminal_) {
    std::printf("%s. /help lists what can be typed beside messages.\n", model_.id.c_str());
  }
  LineReader lines(STDIN_FILENO, interrupts_);
  TimePoint leaves_until{};  // a Ctrl-C before that is the second of two
  while (true) {
    if (terminal_) {
      std::fputs("\n\x1b[1m> \x1b[0m", stdout);
      std::fflush(stdout);
    }
    std::string line;
    const LineReader::Got got = lines.next(line);
    if (got == LineReader::Got::end) break;
    if (got == LineReader::Got::interrupt) {
      // One that was meant for the answer before, or for half a line, must not cost the
      // conversation; the terminal does not tell whether there was one.
      const TimePoint now = Clock::now();
      if (now < leaves_until) break;
      leaves_until = now + kTwice;
      tell("\nCtrl-C again, Ctrl-D or /exit leaves\n");
      continue;
    }
    leaves_until = {};
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Next next = Next::go_on;
    if (line.starts_with("//")) {
      next = turn(line.substr(1));
    } else if (line.starts_with('/')) {
      next = command(line);
    } else {
      next = turn(line);
    }
    if (next == Next::leave) break;
    if (next == Next::fail) return 1;
  }
  if (terminal_) std::fputs("\n", stdout);
  return 0;
}

}  // namespace

int run_chat(const ChatSettings& settings) {
  std::vector<ModelSetting> named = {the_model(settings.models, settings.pulls ? "run" : "chat")};
  locate_models(named, settings.pulls ? Missing::pull : Missing::refuse);
  LocalModels models(named, settings.engine, kVersion);
  admit(models.memory());
  for (const std::string& warning : models.memory().warnings) print_warning(warning);
  const auto model = models.load(0);
  if (!model->chat_template) {
    throw StartupError(fmt::format(
        "{} is a base model without a chat template; serve it and use /v1/completions", model->id));
  }
  const bool terminal = ::isatty(STDIN_FILENO) && ::isatty(STDOUT_FILENO);
  return Conversation(settings, *model, terminal).run();
}

}  // namespace mlxd
