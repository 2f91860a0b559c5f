#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mlxd {

// Reads one JSON value (RFC 8259), byte by byte, as it comes. It keeps no text, and one byte for
// each level of nesting.
class JsonScanner {
 public:
  enum class State {
    open,    // the value goes on
    whole,   // it ended with the last byte that was taken
    broken,  // the byte that was refused does not belong to any JSON
  };
  // Takes bytes up to the value's end or to what is no JSON. Returns how many; the rest is not the
  // value's. A number that stands alone never ends by itself.
  std::size_t take(std::string_view text);
  State state() const { return state_; }
  // What was taken is a whole value.
  bool may_end() const;

 private:
  // What may come next.
  enum class Next {
    value,
    value_or_end,  // behind '['
    key_or_end,    // behind '{'
    key,
    colon,
    comma_or_end,
    string,
    escape,
    unicode,
    word,  // the rest of true, false or null
    number,
    nothing,
  };
  enum class Digits { minus, zero, whole, point, fraction, exponent, sign, power };

  bool take(char c);
  bool begin_value(char c);
  bool open(char bracket, Next next);
  bool close(char bracket);
  void end_value();
  bool take_in_string(char c);
  bool take_number(char c);
  bool number_may_end() const;

  State state_ = State::open;
  Next next_ = Next::value;
  std::string brackets_;  // those that are open
  bool is_key_ = false;
  int unicode_left_ = 0;
  std::string_view word_left_;
  Digits digits_ = Digits::minus;
};

// The text as a JSON string's inside: without the quotation marks around it.
std::string json_escaped(std::string_view text);
// Likewise with them.
std::string json_string(std::string_view text);
// It is one JSON value, white space around it allowed.
bool is_json(std::string_view text);

}  // namespace mlxd
