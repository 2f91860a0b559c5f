#include "api/anthropic/read_values.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"
#include "api/request_parts.h"

namespace mlxd::api::anthropic {
namespace {

namespace json = boost::json;

constexpr std::int64_t kMostTokens = std::numeric_limits<int>::max();

bool is_word_of(std::string_view words, std::string_view word) {
  while (!words.empty()) {
    const std::size_t end = std::min(words.find(' '), words.size());
    if (words.substr(0, end) == word) return true;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return false;
}

Result<void> read_format(const json::value& value, const std::string& param,
                         RequestFields& fields) {
  if (!value.is_object()) {
    return wrong_type(param, R"(an object such as {"type": "json_schema", "schema": {...}})",
                      value);
  }
  const json::object& in = value.get_object();
  const auto type = text_member(in, "type", param);
  if (!type) return type.error();
  if (*type != "json_schema") {
    return bad_value(param + ".type",
                     fmt::format("'{}.type' is '{:.40}'; send \"json_schema\".", param, *type));
  }
  const auto* schema = in.if_contains("schema");
  const std::string place = param + ".schema";
  if (schema == nullptr) {
    return bad_value(place, fmt::format("'{}' is missing; send a JSON schema.", place));
  }
  if (!schema->is_object()) return wrong_type(place, "a JSON schema", *schema);
  if (fields.text.grammar) {
    return bad_value(param, fmt::format("'{}' and '{}' both say what the answer is to be; send one "
                                        "of them.",
                                        fields.text.grammar->param, place));
  }
  std::string text = json::serialize(*schema);
  GrammarSource source{GrammarSource::Kind::json_schema, std::move(text)};
  fields.text.grammar = RequestedGrammar{std::move(source), place};
  return note_other_keys(in, "type schema", param, fields);
}

}  // namespace

Result<std::string_view> text_member(const json::object& in, std::string_view key,
                                     const std::string& place) {
  const auto param = fmt::format("{}.{}", place, key);
  const auto* value = in.if_contains(key);
  if (value == nullptr) {
    return bad_value(param, fmt::format("'{}' is missing; send a string.", param));
  }
  if (!value->is_string()) return wrong_type(param, "a string", *value);
  return view(value->get_string());
}

Result<void> note_other_keys(const json::object& in, std::string_view known,
                             const std::string& place, RequestFields& fields) {
  for (const auto& member : in) {
    const std::string_view key(member.key().data(), member.key().size());
    if (member.value().is_null() || is_word_of(known, key)) continue;
    if (key == "cache_control") {
      if (auto read = read_cache_control(member.value(), fields); !read) return read;
    } else {
      fields.ignored.push_back(fmt::format("{}.{}", place, key));
    }
  }
  return {};
}

// All that is computed may be found again, marked or not: a mark keeps it for a time.
Result<void> read_cache_control(const json::value& value, RequestFields& fields) {
  constexpr std::size_t kMost = 4;  // as at Anthropic's: each may take a rendering
  if (!value.is_object()) {
    return wrong_type("cache_control", "an object such as {\"type\": \"ephemeral\"}", value);
  }
  Breakpoint mark{0, std::chrono::minutes(5)};
  if (const auto* ttl = value.get_object().if_contains("ttl"); ttl != nullptr && !ttl->is_null()) {
    if (*ttl != "5m" && *ttl != "1h") {
      return bad_value("cache_control.ttl", "'cache_control.ttl' must be \"5m\" or \"1h\".");
    }
    if (*ttl == "1h") mark.time = std::chrono::hours(1);
  }
  if (fields.breakpoints.size() == kMost) {
    return bad_value("cache_control",
                     fmt::format("A maximum of {} blocks with cache_control may be provided; leave "
                                 "it out of the others.",
                                 kMost));
  }
  fields.breakpoints.push_back(mark);
  return {};
}

Result<void> read_whole_cache_control(const json::value& value, RequestFields& fields) {
  if (auto read = read_cache_control(value, fields); !read) return read;
  fields.breakpoints.back().turns = Breakpoint::kAll;
  return {};
}

Result<void> read_thinking(const json::value& value, RequestFields& fields) {
  constexpr std::array kThinks = {"enabled", "adaptive", "between_tools"};
  if (!value.is_object()) return wrong_type("thinking", "an object with a 'type'", value);
  const json::object& in = value.get_object();
  const auto type = text_member(in, "type", "thinking");
  if (!type) return type.error();
  fields.thinks = std::ranges::find(kThinks, *type) != kThinks.end();
  if (!*fields.thinks && *type != "disabled") {
    return bad_value("thinking.type",
                     fmt::format("'thinking.type' is '{:.40}'; send enabled, adaptive, "
                                 "between_tools or disabled.",
                                 *type));
  }
  if (const auto* budget = in.if_contains("budget_tokens");
      budget != nullptr && !budget->is_null()) {
    const auto tokens = as_integer(*budget).value_or(0);
    if (tokens < 1) {
      return bad_value("thinking.budget_tokens",
                       "'thinking.budget_tokens' must be a number of tokens, 1 or more.");
    }
    // Clients send it to all models: one whose reasoning it cannot end thinks as it will.
    if (*fields.thinks)
      fields.text.reasoning = {static_cast<int>(std::min(tokens, kMostTokens)), ""};
  }
  if (const auto* display = in.if_contains("display"); display != nullptr && !display->is_null()) {
    if (*display != "summarized" && *display != "omitted") {
      return bad_value("thinking.display",
                       "'thinking.display' must be \"summarized\" or \"omitted\".");
    }
    fields.omit_thinking = *display == "omitted";
  }
  return note_other_keys(in, "type budget_tokens display", "thinking", fields);
}

Result<void> read_output_format(const json::value& value, RequestFields& fields) {
  return read_format(value, "output_format", fields);
}

Result<void> read_output_config(const json::value& value, RequestFields& fields) {
  constexpr std::array kEfforts = {"low", "medium", "high", "xhigh", "max"};
  if (!value.is_object()) {
    return wrong_type("output_config", "an object with 'effort' or 'format'", value);
  }
  const json::object& in = value.get_object();
  if (const auto* effort = in.if_contains("effort"); effort != nullptr && !effort->is_null()) {
    const bool known = std::ranges::any_of(kEfforts, [&](const char* e) { return *effort == e; });
    if (!known) {
      return bad_value("output_config.effort",
                       "'output_config.effort' must be low, medium, high, xhigh or max.");
    }
    fields.effort = view(effort->get_string());
  }
  if (const auto* format = in.if_contains("format"); format != nullptr && !format->is_null()) {
    if (auto read = read_format(*format, "output_config.format", fields); !read) return read;
  }
  return note_other_keys(in, "effort format", "output_config", fields);
}

// Not the API's: with it an answer can be had again.
Result<void> read_seed(const json::value& value, RequestFields& fields) {
  auto seed = as_seed("seed", value);
  if (!seed) return seed.error();
  fields.job.sampling.seed = seed->number;
  fields.seed = std::move(seed->said);
  return {};
}

Result<void> read_stop_sequences(const json::value& value, RequestFields& fields) {
  constexpr std::string_view kWanted = "an array of up to 16 strings, none empty";
  if (!value.is_array()) return wrong_type("stop_sequences", kWanted, value);
  for (const json::value& stop : value.get_array()) {
    if (!stop.is_string()) return wrong_type("stop_sequences", kWanted, value);
    fields.text.stop.emplace_back(view(stop.get_string()));
  }
  return check_stops("stop_sequences", fields.text.stop);
}

}  // namespace mlxd::api::anthropic
