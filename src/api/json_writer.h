#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace mlxd::api {

// Appends JSON to a string as it is told to, with the commas in place. A stream writes one small
// object a token, so nothing is built first. The caller keeps begin and end in pairs.
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }

  void key(std::string_view name);
  // Invalid UTF-8 is written as U+FFFD, so that the result is JSON whatever the model said.
  void string(std::string_view text);
  void integer(std::int64_t number);
  void unsigned_integer(std::uint64_t number);
  // Shortest digits that read back as the same number. JSON has no infinities: see `logprob`.
  void number(double number);
  // The same of a float, whose digits as a double would be 17, of noise.
  void single(float number);
  // A log-probability, -9999 at least: what OpenAI sends for "impossible".
  void logprob(float number);
  void boolean(bool value);
  void null();
  void raw(std::string_view json);  // a value that is JSON already

  void member(std::string_view name, std::string_view text) {
    key(name);
    string(text);
  }
  void member(std::string_view name, const char* text) { member(name, std::string_view(text)); }
  void member(std::string_view name, bool value) {
    key(name);
    boolean(value);
  }
  template <std::signed_integral Number>
  void member(std::string_view name, Number value) {
    key(name);
    integer(value);
  }
  template <std::unsigned_integral Number>
    requires(!std::same_as<Number, bool>)
  void member(std::string_view name, Number value) {
    key(name);
    unsigned_integer(value);
  }
  template <std::floating_point Number>
  void member(std::string_view name, Number value) {
    key(name);
    number(value);
  }
  void null_member(std::string_view name) {
    key(name);
    null();
  }

 private:
  void separate();
  void open(char bracket);
  void close(char bracket);

  std::string& out_;
  bool comma_ = false;  // something stands before the next value at this level
};

}  // namespace mlxd::api
