#include "cli/chat_answer.h"

#include <chrono>
#include <cstdio>
#include <memory>
#include <string_view>
#include <utility>
#include <variant>

#include "base/clock.h"
#include "cli/markdown_styler.h"

namespace mlxd {
namespace {

void write(std::FILE* file, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), file);
}

// Where an answer is seen while it is made.
class AnswerView {
 public:
  explicit AnswerView(bool styled) : styled_(styled) {}
  ~AnswerView() {
    end_reasoning("");
    if (styled_) write(stdout, markdown_.end());
    std::fflush(stdout);
  }
  AnswerView(const AnswerView&) = delete;
  AnswerView& operator=(const AnswerView&) = delete;

  void reasoning(std::string_view text) {
    if (!std::exchange(reasons_, true) && styled_) write(stderr, "\x1b[2m");
    write(stderr, text);
  }
  void content(std::string_view text) {
    end_reasoning("\n\n");
    write(stdout, styled_ ? markdown_.feed(text) : std::string(text));
    std::fflush(stdout);
  }

 private:
  void end_reasoning(std::string_view gap) {
    if (!std::exchange(reasons_, false)) return;
    if (styled_) write(stderr, "\x1b[0m");
    write(stderr, gap);
  }

  const bool styled_;
  bool reasons_ = false;
  MarkdownStyler markdown_;
};

}  // namespace

ChatAnswer stream_answer(TextModel& model, GenerateRequest request, Interrupts& interrupts,
                         bool styled) {
  const TimePoint start = Clock::now();
  auto started = model.start(std::move(request), {});
  if (!started) throw TurnFailed(started.error().message);
  const std::unique_ptr<Generation> generation = *std::move(started);
  ChatAnswer answer;
  AnswerView view(styled);
  bool began = false;
  while (true) {
    if (interrupts.take()) {
      generation->cancel();
      answer.stopped = true;
      break;
    }
    const auto event = generation->next_until(Clock::now() + std::chrono::milliseconds(50));
    if (!event) continue;
    if (const auto* delta = std::get_if<TextDelta>(&*event)) {
      if (delta->text.empty()) continue;
      if (!std::exchange(began, true)) {
        answer.first_token_seconds = seconds_between(start, Clock::now());
      }
      if (delta->channel == AnswerChannel::reasoning) view.reasoning(delta->text);
      if (delta->channel != AnswerChannel::content) continue;
      answer.text += delta->text;
      view.content(delta->text);
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

}  // namespace mlxd
