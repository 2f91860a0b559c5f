#include "api/responses/freeform_input.h"

#include <cstdlib>
#include <utility>

namespace mlxd::api::responses {
namespace {

void append_utf8(unsigned code, std::string& out) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | (code >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | (code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

// `{"input":"` but for white space between.
bool begins_input(std::string_view arguments) {
  constexpr std::string_view kParts[] = {"{", "\"input\"", ":", "\""};
  for (const std::string_view part : kParts) {
    const std::size_t at = arguments.find_first_not_of(" \t\r\n");
    if (at == std::string_view::npos || !arguments.substr(at).starts_with(part)) return false;
    arguments.remove_prefix(at + part.size());
  }
  return arguments.empty();
}

constexpr unsigned kReplacement = 0xfffd;

}  // namespace

std::string FreeformInput::add(std::string_view arguments) {
  std::string added;
  for (const char c : arguments) read(c, added);
  return added;
}

std::string FreeformInput::end() {
  if (state_ == State::before) return std::exchange(arguments_, {});
  std::string added;
  if (high_ != 0) append_utf8(kReplacement, added);
  high_ = 0;
  return added;
}

void FreeformInput::read(char c, std::string& added) {
  switch (state_) {
    case State::before:
      arguments_ += c;
      if (c == '"' && begins_input(arguments_)) {
        state_ = State::text;
        std::string().swap(arguments_);
      }
      return;
    case State::text:
      if (c == '\\') {
        state_ = State::escape;
        return;
      }
      if (high_ != 0) {
        append_utf8(kReplacement, added);
        high_ = 0;
      }
      if (c == '"') {
        state_ = State::after;
      } else {
        added += c;
      }
      return;
    case State::escape:
      return read_escape(c, added);
    case State::digits:
      code_ += c;
      if (code_.size() < 4) return;
      state_ = State::text;
      return add_code_unit(
          static_cast<unsigned>(std::strtoul(std::exchange(code_, {}).c_str(), nullptr, 16)),
          added);
    case State::after:
      return;  // further arguments, which were not declared
  }
}

void FreeformInput::read_escape(char c, std::string& added) {
  if (c == 'u') {
    state_ = State::digits;
    return;
  }
  state_ = State::text;
  constexpr std::string_view kNames = "bfnrt";
  constexpr std::string_view kMeanings = "\b\f\n\r\t";
  const std::size_t name = kNames.find(c);
  add_code_unit(static_cast<unsigned char>(name == std::string_view::npos ? c : kMeanings[name]),
                added);
}

void FreeformInput::add_code_unit(unsigned unit, std::string& added) {
  const bool is_low = unit >= 0xdc00 && unit < 0xe000;
  if (high_ != 0 && is_low) {
    append_utf8(0x10000 + ((high_ - 0xd800) << 10) + (unit - 0xdc00), added);
    high_ = 0;
    return;
  }
  if (high_ != 0) append_utf8(kReplacement, added);
  high_ = 0;
  if (unit >= 0xd800 && unit < 0xdc00) {
    high_ = unit;
  } else {
    append_utf8(is_low ? kReplacement : unit, added);
  }
}

}  // namespace mlxd::api::responses
