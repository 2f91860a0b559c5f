#include "serve/parsers/answer_reader.h"

#include <algorithm>
#include <utility>

#include "serve/parsers/marks.h"

namespace mlxd {
namespace {

// Without the control tokens.
std::string text_alone(std::string_view text) {
  if (text.find(kTokenBegins) == std::string_view::npos) return std::string(text);
  std::string alone;
  bool control = false;
  for (const char c : text) {
    control = control || c == kTokenBegins;
    if (!control) alone += c;
    control = control && c != kTokenEnds;
  }
  return alone;
}

bool is_space(int byte) { return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r'; }

}  // namespace

std::string AnswerReader::mark(std::string_view marker) const {
  return mark_of(tokenizer_, marker);
}

void AnswerReader::start(Task<> grammar) {
  grammar_.emplace(std::move(grammar));
  grammar_->enter(*this);
}

void AnswerReader::add(int token, std::string_view text, std::vector<ParsedText>& out) {
  // A token's own text may be late, that of the tokens before it comes with it then.
  feed(text, out);
  if (tokenizer_.is_special(token)) feed(control_token(token), out);
}

void AnswerReader::end(std::string_view text, std::vector<ParsedText>& out) {
  feed(text, out);
  ended_ = true;
  feed({}, out);
}

void AnswerReader::feed(std::string_view text, std::vector<ParsedText>& out) {
  if (text.empty() && !ended_) return;
  out_ = &out;
  if (begin_ == text_.size() || begin_ > 4096) {
    text_.erase(0, begin_);
    at_ -= begin_;
    begin_ = 0;
  }
  text_ += text;
  grown_ = grown_ || !text.empty();
  if (!over()) {
    resume();
    if (over()) grammar_->result();
  }
  if (over()) {  // nothing reads any more
    at_ = text_.size();
    say(AnswerChannel::content);
  }
  out_ = nullptr;
}

int AnswerReader::find(std::span<const std::string> marks) {
  for (; at_ < text_.size(); ++at_) {
    const std::string_view here = rest();
    bool may_begin = false;
    for (std::size_t i = 0; i < marks.size(); ++i) {
      const std::string_view mark = marks[i];
      if (here.starts_with(mark)) return static_cast<int>(i);
      may_begin = may_begin || mark.starts_with(here);
    }
    if (may_begin) break;
  }
  return -1;
}

std::string AnswerReader::undecided_text() const { return text_alone(undecided()); }

void AnswerReader::go_back_behind(std::size_t undecided_bytes) {
  go_back_to(undecided_bytes);
  at_ = text_[at_] == kTokenBegins ? text_.find(kTokenEnds, at_) + 1 : at_ + 1;
}

void AnswerReader::say(AnswerChannel channel) {
  std::string text = text_alone(undecided());
  const std::size_t read = text.size();
  give(channel, std::move(text), read);
}

void AnswerReader::put(AnswerChannel channel, std::string text) {
  give(channel, std::move(text), text_alone(undecided()).size());
}

void AnswerReader::give(AnswerChannel channel, std::string text, std::size_t read) {
  begin_ = at_;
  if (all_is_calls_ && channel == AnswerChannel::content) text.clear();
  if (text.empty() && read == 0) return;
  const bool of_call =
      channel == AnswerChannel::tool_name || channel == AnswerChannel::tool_arguments;
  const int call = of_call ? calls_ - 1 : -1;
  if (!out_->empty() && out_->back().channel == channel && out_->back().call == call &&
      out_->back().text.size() == out_->back().read && text.size() == read) {
    out_->back().text += text;
    out_->back().read += read;
    return;
  }
  out_->push_back({channel, call, std::move(text), read});
}

void AnswerReader::begin_call(std::string_view name) {
  ++calls_;
  in_call_ = true;
  put(AnswerChannel::tool_name, std::string(name));
}

Task<bool> accept(AnswerReader& in, std::string_view literal) {
  const std::size_t before = in.undecided().size();
  for (const char wanted : literal) {
    const int byte = co_await in.peek();
    if (byte == AnswerReader::kEnd && in.is_cut_call() && in.undecided().size() > before) break;
    if (byte != static_cast<unsigned char>(wanted)) {
      in.go_back_to(before);
      co_return false;
    }
    in.advance();
  }
  co_return true;
}

Task<> accept_space(AnswerReader& in, std::size_t limit) {
  for (std::size_t i = 0; i < limit; ++i) {
    if (!is_space(co_await in.peek())) co_return;
    in.advance();
  }
}

Task<int> pass_until(AnswerReader& in, AnswerChannel channel, std::span<const std::string> marks) {
  for (;;) {
    const int mark = in.find(marks);
    in.say(channel);
    if (mark >= 0) {
      in.advance(marks[static_cast<std::size_t>(mark)].size());
      co_return mark;
    }
    if (!co_await in.more()) break;
  }
  in.advance(in.rest().size());
  in.say(channel);
  co_return -1;
}

Task<int> content_until(AnswerReader& in, std::span<const std::string> marks) {
  co_await accept_space(in);
  for (std::size_t i = 0; i < marks.size(); ++i) {
    if (co_await accept(in, marks[i])) co_return static_cast<int>(i);
  }
  if (in.calls() > 0 && co_await in.peek() == AnswerReader::kEnd) {
    in.skip(AnswerChannel::content);
    co_return -1;
  }
  in.say(AnswerChannel::content);
  std::vector<std::string> with_line_breaks;
  for (const std::string& mark : marks) with_line_breaks.push_back("\n" + mark);
  with_line_breaks.insert(with_line_breaks.end(), marks.begin(), marks.end());
  const int found = co_await pass_until(in, AnswerChannel::content, with_line_breaks);
  co_return found < 0 ? -1 : found % static_cast<int>(marks.size());
}

Task<std::optional<std::string>> head_until(AnswerReader& in, std::span<const std::string> ends,
                                            std::size_t limit) {
  const std::size_t before = in.undecided().size();
  for (;;) {
    const int mark = in.find(ends);
    const std::string_view word = in.undecided().substr(before);
    if (word.size() > limit) break;
    if (mark >= 0) {
      std::string found(word);
      in.advance(ends[static_cast<std::size_t>(mark)].size());
      co_return found;
    }
    if (!co_await in.more()) break;
  }
  in.go_back_to(before);
  co_return std::nullopt;
}

Task<std::optional<std::string>> word_until(AnswerReader& in, std::span<const std::string> ends) {
  const std::size_t before = in.undecided().size();
  std::optional<std::string> word = co_await head_until(in, ends);
  if (word && word->find(kTokenBegins) == std::string::npos) co_return word;
  in.go_back_to(before);
  co_return std::nullopt;
}

void refuse_call(AnswerReader& in) {
  if (in.is_cut_call()) {
    in.advance(in.rest().size());
    in.skip(AnswerChannel::content);
    return;
  }
  in.go_back_behind(0);
  in.say(AnswerChannel::content);
}

}  // namespace mlxd
