#include "api/request_parts.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <span>
#include <utility>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxHeader = 1024;

// The names as they may stand in a header: a client chose them.
std::string header_safe(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) {
    if (!text.empty()) text += ", ";
    for (const char c : name) text += c > ' ' && c < 0x7f && c != ',' ? c : '?';
    if (text.size() > kMaxHeader) return text.substr(0, kMaxHeader);
  }
  return text;
}

// What limits the text or the tokens of an answer, here or at other servers.
bool constrains(std::string_view name) {
  constexpr std::array<std::string_view, 26> kNames = {"allowed_token_ids",
                                                       "bad_words",
                                                       "ebnf",
                                                       "format",
                                                       "functions",
                                                       "function_call",
                                                       "grammar",
                                                       "grammar_lazy",
                                                       "grammar_triggers",
                                                       "guided_choice",
                                                       "guided_grammar",
                                                       "guided_json",
                                                       "guided_regex",
                                                       "json_schema",
                                                       "logit_bias",
                                                       "logits_processors",
                                                       "min_tokens",
                                                       "output_format",
                                                       "regex",
                                                       "response_format",
                                                       "stop",
                                                       "stop_sequences",
                                                       "stop_token_ids",
                                                       "structured_outputs",
                                                       "tool_choice",
                                                       "tools"};
  return std::ranges::find(kNames, name.substr(name.rfind('.') + 1)) != kNames.end();
}

std::string random_letters(std::string_view letters, std::size_t count) {
  std::random_device device;
  std::uniform_int_distribution<std::size_t> letter(0, letters.size() - 1);
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += letters[letter(device)];
  return text;
}

}  // namespace

Result<void> check_stops(std::string_view param, const std::vector<std::string>& stops) {
  const std::string name(param);
  if (stops.size() > kMaxStops) {
    return bad_value(
        name, fmt::format("'{}' has {} strings; send at most {}.", param, stops.size(), kMaxStops));
  }
  for (const std::string& stop : stops) {
    if (stop.empty()) {
      return bad_value(name, fmt::format("'{}' has an empty string; leave it out.", param));
    }
    if (stop.size() > kMaxStopBytes) {
      return bad_value(name, fmt::format("'{}' has a string of {} bytes; send at most {}.", param,
                                         stop.size(), kMaxStopBytes));
    }
  }
  return {};
}

Result<void> UnknownKeys::unknown(std::string name) {
  if (lenient && !constrains(name)) {
    ignored.push_back(std::move(name));
    return {};
  }
  Error error = bad_value(name, fmt::format("'{:.200}' is not a parameter of this endpoint; leave "
                                            "it out.",
                                            name));
  error.code = "unknown_parameter";
  return error;
}

bool UnknownNames::took(const Error& error) {
  if (error.code != "unknown_parameter") return false;
  if (names_.empty()) first_ = error;
  names_.push_back(error.param);
  return true;
}

Result<void> UnknownNames::result() const {
  if (names_.empty()) return {};
  if (names_.size() == 1) return first_;
  constexpr std::size_t kMostNamed = 20;
  const auto named = std::span(names_).first(std::min(names_.size(), kMostNamed));
  std::string list;
  for (const std::string& name : named) {
    list += fmt::format("{}'{:.100}'", list.empty() ? "" : ", ", name);
  }
  if (named.size() < names_.size()) {
    list += fmt::format(" and {} others", names_.size() - named.size());
  }
  Error error = bad_value(
      names_[0], fmt::format("{} are not parameters of this endpoint; leave them out.", list));
  error.code = "unknown_parameter";
  return error;
}

std::uint64_t random_seed() {
  std::random_device device;
  const std::uint64_t bits = (std::uint64_t{device()} << 32) | device();
  return bits >> 11;
}

std::string random_hex(std::size_t digits) { return random_letters("0123456789abcdef", digits); }

std::string make_call_id() {
  return random_letters("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 9);
}

long unix_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<long>(std::chrono::duration_cast<std::chrono::seconds>(now).count());
}

TimePoint deadline_after(double seconds) { return after_seconds(Clock::now(), seconds); }

http::Headers answer_headers(const std::string& seed, const std::vector<std::string>& ignored) {
  http::Headers headers = ignored_header(ignored);
  headers.emplace(headers.begin(), "x-seed", seed);
  return headers;
}

http::Headers ignored_header(const std::vector<std::string>& ignored) {
  http::Headers headers;
  if (!ignored.empty()) headers.emplace_back("x-mlxd-ignored", header_safe(ignored));
  return headers;
}

bool is_reasoning_effort(std::string_view word) {
  constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium",
                                                        "high", "xhigh",   "max"};
  return std::ranges::find(kEfforts, word) != kEfforts.end();
}

// Templates know thinking under several names.
boost::json::object thinking_arguments(std::string_view effort, std::optional<bool> thinks) {
  boost::json::object arguments;
  if (!effort.empty()) {
    if (!thinks) thinks = effort != "none";
    if (*thinks) arguments["reasoning_effort"] = effort;
  }
  if (thinks) {
    arguments["enable_thinking"] = *thinks;
    arguments["thinking"] = *thinks;
  }
  return arguments;
}

Result<std::vector<std::string>> read_stops(const json::value& value, std::string_view param) {
  constexpr std::string_view kWanted = "a string or an array of up to 16 strings, none empty";
  if (!value.is_string() && !value.is_array()) return wrong_type(param, kWanted, value);
  std::vector<std::string> stops;
  if (value.is_string()) {
    stops.emplace_back(value.get_string());
  } else {
    const auto& list = value.get_array();
    for (const auto& entry : list) {
      if (!entry.is_string()) return wrong_type(param, kWanted, value);
      stops.emplace_back(entry.get_string());
    }
  }
  if (auto checked = check_stops(param, stops); !checked) return checked.error();
  return stops;
}

}  // namespace mlxd::api
