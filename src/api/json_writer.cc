#include "api/json_writer.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include "base/json_text.h"
#include "base/utf8.h"

namespace mlxd::api {
namespace {

constexpr float kImpossible = -9999.0F;

void append_number(std::string& out, double number) {
  const auto begin = out.size();
  fmt::format_to(std::back_inserter(out), "{}", number);
  // "1" would read back as an integer in typed clients.
  if (out.find_first_of(".e", begin) == std::string::npos) out += ".0";
}

}  // namespace

void JsonWriter::separate() {
  if (comma_) out_ += ',';
  comma_ = true;
}

void JsonWriter::open(char bracket) {
  separate();
  out_ += bracket;
  comma_ = false;
}

void JsonWriter::close(char bracket) {
  out_ += bracket;
  comma_ = true;
}

void JsonWriter::key(std::string_view name) {
  string(name);
  out_ += ':';
  comma_ = false;
}

void JsonWriter::string(std::string_view text) {
  separate();
  out_ += '"';
  if (is_valid_utf8(text)) {
    append_json_escaped(out_, text);
  } else {
    append_json_escaped(out_, replace_invalid_utf8(text));
  }
  out_ += '"';
}

void JsonWriter::integer(std::int64_t number) {
  separate();
  fmt::format_to(std::back_inserter(out_), "{}", number);
}

void JsonWriter::unsigned_integer(std::uint64_t number) {
  separate();
  fmt::format_to(std::back_inserter(out_), "{}", number);
}

void JsonWriter::number(double number) {
  if (!std::isfinite(number)) return null();
  separate();
  append_number(out_, number);
}

void JsonWriter::single(float number) {
  if (!std::isfinite(number)) return null();
  separate();
  fmt::format_to(std::back_inserter(out_), "{}", number);
}

void JsonWriter::logprob(float number) {
  separate();
  const float finite = std::isnan(number) ? kImpossible : std::clamp(number, kImpossible, 0.0F);
  // As a float: the shortest digits of the same value as a double would be 17 of noise.
  const auto begin = out_.size();
  fmt::format_to(std::back_inserter(out_), "{}", finite == 0 ? 0.0F : finite);
  if (out_.find_first_of(".e", begin) == std::string::npos) out_ += ".0";
}

void JsonWriter::boolean(bool value) { raw(value ? "true" : "false"); }

void JsonWriter::null() { raw("null"); }

void JsonWriter::raw(std::string_view json) {
  separate();
  out_ += json;
}

}  // namespace mlxd::api
