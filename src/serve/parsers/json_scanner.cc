#include "serve/parsers/json_scanner.h"

#include "base/json_text.h"

namespace mlxd {
namespace {

constexpr std::size_t kMostNested = 256;

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

}  // namespace

std::size_t JsonScanner::take(std::string_view text) {
  std::size_t taken = 0;
  while (taken < text.size() && state_ == State::open) {
    if (!take(text[taken])) {
      state_ = State::broken;
      break;
    }
    ++taken;
  }
  return taken;
}

bool JsonScanner::take(char c) {
  switch (next_) {
    case Next::string:
    case Next::escape:
    case Next::unicode:
      return take_in_string(c);
    case Next::word:
      if (c != word_left_.front()) return false;
      word_left_.remove_prefix(1);
      if (word_left_.empty()) end_value();
      return true;
    case Next::number:
      if (take_number(c)) return true;
      if (!number_may_end() || brackets_.empty()) return false;
      end_value();
      return take(c);
    default:
      break;
  }
  if (is_space(c)) return true;
  switch (next_) {
    case Next::value_or_end:
      if (c == ']') return close('[');
      return begin_value(c);
    case Next::value:
      return begin_value(c);
    case Next::key_or_end:
      if (c == '}') return close('{');
      [[fallthrough]];
    case Next::key:
      is_key_ = true;
      next_ = Next::string;
      return c == '"';
    case Next::colon:
      next_ = Next::value;
      return c == ':';
    case Next::comma_or_end:
      if (c == '}') return close('{');
      if (c == ']') return close('[');
      next_ = brackets_.back() == '{' ? Next::key : Next::value;
      return c == ',';
    default:
      return false;
  }
}

bool JsonScanner::begin_value(char c) {
  switch (c) {
    case '{':
      return open(c, Next::key_or_end);
    case '[':
      return open(c, Next::value_or_end);
    case '"':
      is_key_ = false;
      next_ = Next::string;
      return true;
    case 't':
      word_left_ = "rue";
      break;
    case 'f':
      word_left_ = "alse";
      break;
    case 'n':
      word_left_ = "ull";
      break;
    default:
      next_ = Next::number;
      digits_ = c == '-' ? Digits::minus : c == '0' ? Digits::zero : Digits::whole;
      return c == '-' || is_digit(c);
  }
  next_ = Next::word;
  return true;
}

bool JsonScanner::open(char bracket, Next next) {
  if (brackets_.size() == kMostNested) return false;
  brackets_ += bracket;
  next_ = next;
  return true;
}

bool JsonScanner::close(char bracket) {
  if (brackets_.back() != bracket) return false;
  brackets_.pop_back();
  end_value();
  return true;
}

void JsonScanner::end_value() {
  if (brackets_.empty()) {
    state_ = State::whole;
    next_ = Next::nothing;
  } else {
    next_ = Next::comma_or_end;
  }
}

bool JsonScanner::take_in_string(char c) {
  if (next_ == Next::escape) {
    next_ = c == 'u' ? Next::unicode : Next::string;
    unicode_left_ = 4;
    return std::string_view("\"\\/bfnrtu").find(c) != std::string_view::npos;
  }
  if (next_ == Next::unicode) {
    if (--unicode_left_ == 0) next_ = Next::string;
    return is_hex(c);
  }
  const auto byte = static_cast<unsigned char>(c);
  if (c == '\\') {
    next_ = Next::escape;
  } else if (c == '"') {
    if (is_key_) {
      next_ = Next::colon;
    } else {
      end_value();
    }
  }
  return byte >= 0x20 && byte < 0xFE;  // 0xFE and above are no text (AnswerReader)
}

bool JsonScanner::take_number(char c) {
  const bool digit = is_digit(c);
  const auto to = [&](Digits next) {
    digits_ = next;
    return true;
  };
  switch (digits_) {
    case Digits::minus:
      return digit && to(c == '0' ? Digits::zero : Digits::whole);
    case Digits::whole:
      if (digit) return true;
      [[fallthrough]];
    case Digits::zero:
      if (c == '.') return to(Digits::point);
      return (c == 'e' || c == 'E') && to(Digits::exponent);
    case Digits::point:
      return digit && to(Digits::fraction);
    case Digits::fraction:
      if (c == 'e' || c == 'E') return to(Digits::exponent);
      return digit;
    case Digits::exponent:
      if (c == '+' || c == '-') return to(Digits::sign);
      [[fallthrough]];
    case Digits::sign:
      return digit && to(Digits::power);
    case Digits::power:
      return digit;
  }
  return false;
}

bool JsonScanner::number_may_end() const {
  return digits_ == Digits::zero || digits_ == Digits::whole || digits_ == Digits::fraction ||
         digits_ == Digits::power;
}

bool JsonScanner::may_end() const {
  const bool number = next_ == Next::number && brackets_.empty() && number_may_end();
  return state_ == State::whole || (state_ == State::open && number);
}

std::string json_escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  append_json_escaped(out, text);
  return out;
}

std::string json_string(std::string_view text) { return '"' + json_escaped(text) + '"'; }

bool is_json(std::string_view text) {
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  JsonScanner scanner;
  return scanner.take(text) == text.size() && scanner.may_end();
}

}  // namespace mlxd
