// parsers: the formats in which model families write reasoning and tool calls, one file each, whose
// first lines say the format's grammar. A format is a coroutine that reads the answer
// through an AnswerReader, from top to bottom as the grammar says; answer_format.h lists them.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/task.h"
#include "serve/answer_parser.h"
#include "serve/declared_tools.h"
#include "text/tokenizer.h"

namespace mlxd {

// The text of one answer and a cursor in it, for a grammar. What lies before the cursor and was
// neither said nor skipped is undecided: a grammar may still go back to where that begins.
//
// A control token has no text, so that nothing that a model spells out can be taken for it. Here it
// stands as bytes that no text has, which `mark` gives.
class AnswerReader final : public TaskRunner {
 public:
  // What `context` refers to outlives it.
  AnswerReader(const Tokenizer& tokenizer, const AnswerContext& context)
      : tokenizer_(tokenizer),
        tools_(*context.tools),
        calls_are_held_(context.calls_are_held),
        all_is_calls_(context.all_is_calls) {}

  // The whole grammar, once. It reads through this object.
  void start(Task<> grammar);
  // For whoever has the text. `out` takes what is decided. What the grammar throws comes out here,
  // and it is over.
  void add(int token, std::string_view text, std::vector<ParsedText>& out);
  void end(std::string_view text, std::vector<ParsedText>& out);

  // For grammars from here on.

  // How `marker` stands in this text: as the control token that it is in this model's vocabulary,
  // else as it is spelt.
  std::string mark(std::string_view marker) const;
  const DeclaredTools& tools() const { return tools_; }

  // co_await peek(): the byte at the cursor, kEnd behind the last.
  static constexpr int kEnd = -1;
  struct Peek {
    AnswerReader& reader;
    bool await_ready() const { return reader.at_ < reader.text_.size() || reader.ended_; }
    void await_suspend(std::coroutine_handle<>) { reader.wait(); }
    int await_resume() const {
      return reader.at_ < reader.text_.size() ? static_cast<unsigned char>(reader.text_[reader.at_])
                                              : kEnd;
    }
  };
  Peek peek() { return {*this}; }
  // co_await more(): that text was added behind `rest`; false: there is no more.
  struct More {
    AnswerReader& reader;
    bool await_ready() const { return reader.ended_; }
    void await_suspend(std::coroutine_handle<>) { reader.wait(); }
    bool await_resume() const { return !reader.ended_ || reader.grown_; }
  };
  More more() {
    grown_ = false;
    return {*this};
  }
  std::string_view rest() const { return std::string_view(text_).substr(at_); }
  // Moves the cursor to the first of `marks`, or to where one may begin, or to the end of what is
  // there. Which one it is, -1 where none is whole.
  int find(std::span<const std::string> marks);
  std::string_view undecided() const {
    return std::string_view(text_).substr(begin_, at_ - begin_);
  }
  // What of it is text, without the control tokens.
  std::string undecided_text() const;
  void advance(std::size_t bytes = 1) { at_ += bytes; }
  void go_back_to(std::size_t undecided_bytes) { at_ = begin_ + undecided_bytes; }
  // ... and on over the first byte there, or the control token: what seemed a mark is none.
  void go_back_behind(std::size_t undecided_bytes);

  // What is undecided is said as it is written, is markup, or stands for `text`.
  void say(AnswerChannel channel);
  void skip(AnswerChannel channel) { put(channel, {}); }
  void put(AnswerChannel channel, std::string text);

  // A call begins with its name, which says what is undecided.
  void begin_call(std::string_view name);
  void put_arguments(std::string text) { put(AnswerChannel::tool_arguments, std::move(text)); }
  // Its arguments are whole.
  void complete_call() { in_call_ = false; }
  bool in_call() const { return in_call_; }
  int calls() const { return calls_; }
  // Calls are held to a grammar and the answer is over: a mark that breaks off is one, and what
  // began as a call was cut off.
  bool is_cut_call() const { return calls_are_held_ && ended_; }

 private:
  void ended() noexcept override {}
  void feed(std::string_view text, std::vector<ParsedText>& out);
  void give(AnswerChannel channel, std::string text, std::size_t read);

  const Tokenizer& tokenizer_;
  const DeclaredTools& tools_;
  const bool calls_are_held_, all_is_calls_;
  std::string text_;       // from the first undecided byte on, or a little before
  std::size_t begin_ = 0;  // where the undecided begins
  std::size_t at_ = 0;     // the cursor
  bool ended_ = false, grown_ = false;
  int calls_ = 0;
  bool in_call_ = false;
  std::vector<ParsedText>* out_ = nullptr;
  std::optional<Task<>> grammar_;
};

// Parts that most grammars have.

// The literal, whole, or nothing: the cursor stays.
Task<bool> accept(AnswerReader& in, std::string_view literal);
// White space, at most `limit` bytes.
Task<> accept_space(AnswerReader& in, std::size_t limit = 256);

// Says all up to the first of `marks` in this channel; the mark is undecided then, and behind the
// cursor. Which one it was; -1: none, and the answer is over.
Task<int> pass_until(AnswerReader& in, AnswerChannel channel, std::span<const std::string> marks);

// Content up to the opening mark of a call, as pass_until. White space that stands alone before the
// first call or between two is theirs, as is a line break before a mark.
Task<int> content_until(AnswerReader& in, std::span<const std::string> marks);

// What comes before one of `ends`, which is read too. Nothing where that is not within `limit`
// bytes.
Task<std::optional<std::string>> head_until(AnswerReader& in, std::span<const std::string> ends,
                                            std::size_t limit = 256);
// Likewise text alone: nothing where a control token stands in it.
Task<std::optional<std::string>> word_until(AnswerReader& in, std::span<const std::string> ends);

// What began as a call is none: its first byte is content, and all behind it is read again. Of a
// call that was cut off before its name was whole nothing is said.
void refuse_call(AnswerReader& in);

}  // namespace mlxd
