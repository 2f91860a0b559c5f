#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"
#include "base/utf8.h"
#include "cli/chat_answer.h"
#include "cli/chat_model.h"
#include "cli/cli.h"
#include "cli/line_editor.h"
#include "cli/line_reader.h"
#include "cli/messages.h"

namespace mlxd {
namespace {

constexpr std::string_view kHelp =
    "/help           this list\n"
    "/clear          forget the conversation, and begin again\n"
    "/system TEXT    begin again with this system message; without TEXT, with none\n"
    "/file PATH      send a text file with the next message\n"
    "/retry          drop the last answer, and ask for another\n"
    "/model NAME     go on with another model; without NAME, say which this is\n"
    "/exit           leave, as does Ctrl-D, or Ctrl-C twice at the prompt\n"
    "//TEXT          send a message that begins with a slash\n"
    "Ctrl-C stops an answer that is under way.\n";
constexpr std::string_view kEditing =
    "Arrow keys edit the line and find earlier ones, Ctrl-R searches them, Tab completes;\n"
    "a backslash at the end of a line lets the message go on in the next.\n";
constexpr std::string_view kCompleted = "/help\n/clear\n/system\n/file \n/retry\n/model \n/exit";

// Ctrl-C and Ctrl-C again within this time are meant as two.
constexpr auto kTwice = std::chrono::seconds(3);

constexpr std::uintmax_t kLargestFile = 1 << 20;

// The screen that a conversation is held at.
struct Screen {
  bool terminal = false;  // a person sits there
  bool styled = false;    // and it knows bold letters
  bool edits = false;     // and where a cursor is

  static Screen here() {
    const auto variable = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string_view(value == nullptr ? "" : value);
    };
    Screen screen;
    screen.terminal = ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0;
    const std::string_view kind = variable("TERM");
    screen.edits = screen.terminal && !kind.empty() && kind != "dumb";
    screen.styled = screen.edits && variable("NO_COLOR").empty();  // no-color.org
    return screen;
  }
};

// Throws StartupError with what is wrong with it.
std::string read_text_file(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) throw StartupError(fmt::format("{} cannot be read: {}", path, error.message()));
  if (size > kLargestFile) {
    throw StartupError(fmt::format("{} has {} bytes; send at most {}", path, size, kLargestFile));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file.good() && !file.eof()) throw StartupError(fmt::format("{} cannot be read", path));
  if (text.find('\0') != std::string::npos || replace_invalid_utf8(text) != text) {
    throw StartupError(fmt::format("{} is not a text file in UTF-8", path));
  }
  return text;
}

// A file as a message has it: its name, and its text between fences that it does not contain.
std::string quoted_file(const std::string& path, std::string_view text) {
  std::string fence = "```";
  while (text.find(fence) != std::string_view::npos) fence += '`';
  return fmt::format("{}:\n{}\n{}{}{}\n\n", std::filesystem::path(path).filename().string(), fence,
                     text, text.ends_with('\n') ? "" : "\n", fence);
}

// What was said so far, and the turns to come.
class Conversation {
 public:
  Conversation(const ChatSettings& settings, ChatModel& model, const Screen& screen)
      : settings_(settings),
        model_(model),
        screen_(screen),
        seed_(settings.seed.value_or(std::random_device{}())),
        interrupts_(screen.terminal) {
    begin(settings.system);
  }

  int run();

 private:
  enum class Next { go_on, leave, fail };

  std::unique_ptr<LineSource> lines();
  void begin(const std::string& system);
  Next one_line(const std::string& line);
  Next command(const std::string& line);
  Next attach(const std::string& path);
  Next change_model(const std::string& name);
  Next retry();
  Next turn(const std::string& text);
  Next refuse(std::string_view sentence) const {  // beside a person, who may try something else
    print_error(sentence);
    return screen_.terminal ? Next::go_on : Next::fail;
  }
  void tell(std::string_view text) const {  // beside the answers, where a person reads them
    if (!screen_.terminal) return;
    const char* const dim = screen_.styled ? "\x1b[2m" : "";
    const char* const plain = screen_.styled ? "\x1b[0m" : "";
    std::printf("%s%.*s%s", dim, static_cast<int>(text.size()), text.data(), plain);
  }

  const ChatSettings& settings_;
  ChatModel& model_;
  const Screen screen_;
  const std::uint64_t seed_;
  Interrupts interrupts_;
  std::string system_;
  boost::json::array messages_;
  std::string files_;  // for the next message, quoted
  std::uint64_t turns_ = 0;
};

boost::json::object message(std::string_view role, std::string_view content) {
  return {{"role", role}, {"content", replace_invalid_utf8(content)}};
}

void Conversation::begin(const std::string& system) {
  system_ = system;
  messages_.clear();
  files_.clear();
  if (!system.empty()) messages_.push_back(message("system", system));
}

Conversation::Next Conversation::command(const std::string& line) {
  const std::string name = line.substr(0, line.find(' '));
  std::string text = name.size() < line.size() ? line.substr(name.size() + 1) : "";
  text.erase(text.find_last_not_of(' ') + 1);
  if (name == "/exit" || name == "/quit" || name == "/bye") return Next::leave;
  if (name == "/file") return attach(text);
  if (name == "/model") return change_model(text);
  if (name == "/retry") return retry();
  if (name == "/help" || name == "/?") {
    std::fwrite(kHelp.data(), 1, kHelp.size(), stdout);
    if (screen_.edits) std::fwrite(kEditing.data(), 1, kEditing.size(), stdout);
  } else if (name == "/clear") {
    begin(system_);
    tell("the conversation begins again\n");
  } else if (name == "/system") {
    begin(text);
    tell(text.empty() ? "the conversation begins again, without a system message\n"
                      : "the conversation begins again, with this system message\n");
  } else {
    return refuse(
        fmt::format("there is no command {}; /help lists those there are, and //{} sends "
                    "it as a message",
                    name, name.substr(1)));
  }
  return Next::go_on;
}

Conversation::Next Conversation::attach(const std::string& path) {
  if (path.empty()) return refuse("/file takes the path of a text file");
  try {
    const std::string text = read_text_file(path);
    files_ += quoted_file(path, text);
    tell(fmt::format("{} ({} bytes) goes with your next message\n", path, text.size()));
    return Next::go_on;
  } catch (const StartupError& error) {
    return refuse(error.what());
  }
}

Conversation::Next Conversation::change_model(const std::string& name) {
  if (!name.empty()) {
    try {
      model_.change(name);
    } catch (const std::exception& error) {
      const Next next = refuse(error.what());
      return model_.is_loaded() ? next : Next::fail;
    }
  }
  tell(fmt::format("this is {}, with a context of {} tokens\n", model_->id,
                   model_->info().context_length));
  return Next::go_on;
}

Conversation::Next Conversation::retry() {
  if (messages_.empty() || messages_.back().at("role") != "assistant") {
    return refuse("there is no answer to drop yet");
  }
  const boost::json::array before = messages_;
  std::string files = std::exchange(files_, {});  // for the next message still
  messages_.pop_back();
  const std::string asked(messages_.back().at("content").as_string());
  messages_.pop_back();
  const Next next = turn(asked);
  if (messages_.size() < before.size()) messages_ = before;  // no other came
  files_ = std::move(files);
  return next;
}

Conversation::Next Conversation::turn(const std::string& text) {
  const std::string files = std::exchange(files_, {});
  const auto take_back = [&] {
    messages_.pop_back();
    files_ = files;
  };
  messages_.push_back(message("user", files + text));
  GenerateRequest request;
  request.prompt = ChatPrompt{boost::json::serialize(messages_)};
  request.job.id = fmt::format("chat-{}", turns_);
  request.job.sampling.temperature = settings_.temperature;
  request.job.sampling.seed = seed_ + turns_++;
  request.job.max_tokens = settings_.max_tokens;
  try {
    const ChatAnswer answer =
        stream_answer(*model_, std::move(request), interrupts_, screen_.styled);
    std::fputs("\n", stdout);
    if (answer.stopped && answer.text.empty()) {
      take_back();
      tell("stopped before the answer began; your message is taken back\n");
      return Next::go_on;
    }
    messages_.push_back(message("assistant", answer.text));
    if (answer.stopped) {
      tell("stopped; what was said so far stays in the conversation\n");
    } else if (answer.tokens > 1) {
      const double seconds = answer.seconds - answer.first_token_seconds;
      tell(fmt::format("{} tokens, {:.1f} tok/s, first after {:.0f} ms\n", answer.tokens,
                       (answer.tokens - 1) / seconds, answer.first_token_seconds * 1e3));
    }
    return Next::go_on;
  } catch (const TurnFailed& error) {
    take_back();
    return refuse(error.what());
  }
}

std::unique_ptr<LineSource> Conversation::lines() {
  if (screen_.edits) return std::make_unique<LineEditor>(kCompleted, screen_.styled);
  return std::make_unique<LineReader>(STDIN_FILENO, interrupts_, screen_.terminal ? "\n> " : "");
}

Conversation::Next Conversation::one_line(const std::string& line) {
  if (line.find_first_not_of(" \t\r\n") == std::string::npos) return Next::go_on;
  if (line.starts_with("//")) return turn(line.substr(1));
  return line.starts_with('/') ? command(line) : turn(line);
}

int Conversation::run() {
  if (screen_.terminal) {
    std::printf("%s. /help lists what can be typed beside messages.\n", model_->id.c_str());
  }
  const std::unique_ptr<LineSource> source = lines();
  TimePoint leaves_until{};  // a Ctrl-C before that is the second of two
  while (true) {
    std::string line;
    // One that came late was meant for the answer before.
    const LineSource::Got got =
        interrupts_.take() ? LineSource::Got::interrupt : source->next(line);
    if (got == LineSource::Got::end) break;
    if (got == LineSource::Got::interrupt) {
      // Or for half a line: it must not cost the conversation; the terminal does not tell whether
      // there was one.
      const TimePoint now = Clock::now();
      if (now < leaves_until) break;
      leaves_until = now + kTwice;
      tell("\nCtrl-C again, Ctrl-D or /exit leaves\n");
      continue;
    }
    leaves_until = {};
    interrupts_.take();  // one that came before there was a prompt stops no answer to come
    const Next next = one_line(line);
    if (next == Next::leave) break;
    if (next == Next::fail) return 1;
  }
  if (screen_.terminal) std::fputs("\n", stdout);
  return 0;
}

}  // namespace

int run_chat(const ChatSettings& settings) {
  ChatModel model(settings);
  return Conversation(settings, model, Screen::here()).run();
}

}  // namespace mlxd
