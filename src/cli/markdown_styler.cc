#include "cli/markdown_styler.h"

#include <cctype>
#include <utility>

namespace mlxd {
namespace {

constexpr std::string_view kFence = "```";
constexpr std::size_t kDeepestHeading = 6;
constexpr std::string_view kEscaped = "*`_#";  // not all of CommonMark's: formulas use them too

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || static_cast<unsigned char>(c) >= 0x80;
}

}  // namespace

std::string MarkdownStyler::feed(std::string_view text) {
  std::string out;
  for (const char c : text) take(c, out);
  return out;
}

std::string MarkdownStyler::end() {
  std::string out;
  if (line_start_) {
    out = std::exchange(held_, {});
  } else {
    settle('\n', out);
  }
  *this = {};
  out += "\x1b[0m";
  return out;
}

// One sequence that sets all: what was set before is not asked.
void MarkdownStyler::show_styles(std::string& out) const {
  out += "\x1b[0";
  if (heading_ || strong_) out += ";1";
  if (fence_line_) out += ";2";
  if (emphasis_) out += ";3";
  if (code_ || (fenced_ && !fence_line_)) out += ";36";
  out += 'm';
}

void MarkdownStyler::take(char c, std::string& out) {
  if (line_start_) {
    at_line_start(c, out);
  } else {
    within_line(c, out);
  }
}

// Holds what may become a fence or a heading.
void MarkdownStyler::at_line_start(char c, std::string& out) {
  const std::size_t indent = held_.find_first_not_of(' ');
  const std::string_view mark =
      indent == std::string::npos ? "" : std::string_view(held_).substr(indent);
  const bool may_be_fence = c == '`' && mark.find_first_not_of('`') == std::string::npos;
  const bool may_be_heading = !fenced_ && c == '#' && mark.size() < kDeepestHeading &&
                              mark.find_first_not_of('#') == std::string::npos;
  if ((mark.empty() && c == ' ' && held_.size() < 16) || may_be_fence || may_be_heading) {
    held_ += c;
    return;
  }
  const bool is_heading = mark.starts_with('#') && (c == ' ' || c == '\n');
  line_start_ = false;
  const std::string start = std::exchange(held_, {});
  if (is_heading) {
    heading_ = true;
    show_styles(out);
    before_ = ' ';
    if (c == '\n') within_line(c, out);
    return;
  }
  // A word behind it opens a block, and is code within one.
  const bool fence = start.find(kFence) != std::string::npos && (!fenced_ || is_space(c));
  if (fence) {
    fenced_ = !fenced_;
    fence_line_ = true;
  }
  if (fence || fenced_) {
    if (fence) show_styles(out);
    out += start;
    before_ = ' ';
    within_line(c, out);
    return;
  }
  before_ = '\n';
  for (const char each : start) within_line(each, out);
  within_line(c, out);
}

void MarkdownStyler::within_line(char c, std::string& out) {
  if (fenced_ || fence_line_) {
    if (c == '\n') return end_line(out);
    out += c;
    return;
  }
  // Marks of one kind are held together; a backslash is held for what it escapes.
  const bool is_mark = c == '`' || (c == '*' && !code_) || (c == '\\' && !code_);
  if (is_mark && (held_.empty() || (held_.front() == c && c != '\\'))) {
    held_ += c;
    return;
  }
  if (held_ == "\\") {
    held_.clear();
    if (kEscaped.find(c) == std::string_view::npos) out += '\\';
    if (c == '\n') return end_line(out);
    out += c;
    before_ = c;
    return;
  }
  settle(c, out);
  if (is_mark) {
    held_ += c;
    return;
  }
  if (c == '\n') return end_line(out);
  out += c;
  before_ = c;
}

// Decides on the marks that are held, before `next`.
void MarkdownStyler::settle(char next, std::string& out) {
  const std::string marks = std::exchange(held_, {});
  if (marks.empty()) return;
  const bool opens = !is_space(next), closes = !is_space(before_);
  const char last = marks.back();
  if (marks == "`" && (code_ || next != '\n')) {
    code_ = !code_;
  } else if (marks == "**" && (strong_ ? closes : opens)) {
    strong_ = !strong_;
  } else if (marks == "*" && (emphasis_ ? closes : opens && !is_word(before_))) {
    emphasis_ = !emphasis_;
  } else if (marks == "***" && (strong_ && emphasis_ ? closes : !strong_ && !emphasis_ && opens)) {
    strong_ = emphasis_ = !strong_;
  } else {
    out += marks;
    before_ = last;
    return;
  }
  show_styles(out);
  before_ = last;
}

void MarkdownStyler::end_line(std::string& out) {
  const bool styled = heading_ || fence_line_ || strong_ || emphasis_ || code_;
  heading_ = fence_line_ = strong_ = emphasis_ = code_ = false;
  if (styled) show_styles(out);
  out += '\n';
  line_start_ = true;
  before_ = '\n';
}

}  // namespace mlxd
