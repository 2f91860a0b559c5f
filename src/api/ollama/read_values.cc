#include "api/ollama/read_values.h"

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"
#include "api/ollama/keep_alive.h"

namespace mlxd::api::ollama {
namespace {

namespace json = boost::json;

std::string text_of(const json::value& value) { return std::string(value.get_string()); }

}  // namespace

Result<void> read_model(const json::value& value, Fields& fields) {
  if (!value.is_string()) return wrong_type("model", "the name of a model", value);
  fields.model = text_of(value);
  return {};
}

Result<void> read_prompt(const json::value& value, Fields& fields) {
  if (!value.is_string()) return wrong_type("prompt", "a string", value);
  fields.prompt = text_of(value);
  return {};
}

Result<void> read_system(const json::value& value, Fields& fields) {
  if (!value.is_string()) return wrong_type("system", "a string", value);
  fields.system = text_of(value);
  return {};
}

Result<void> read_format(const json::value& value, Fields& fields) {
  using Kind = GrammarSource::Kind;
  if (value.is_object()) {
    fields.text.grammar = RequestedGrammar{{Kind::json_schema, json::serialize(value)}, "format"};
  } else if (value == "json") {
    fields.text.grammar = RequestedGrammar{{Kind::json_object, {}}, "format"};
  } else if (value != "") {
    return wrong_type("format", "\"json\" or a JSON schema", value);
  }
  return {};
}

Result<void> read_think(const json::value& value, Fields& fields) {
  if (value.is_bool()) {
    fields.think = value.get_bool();
    return {};
  }
  for (const char* level : {"low", "medium", "high", "max"}) {
    if (value != level) continue;
    fields.think = true;
    fields.effort = level;
    return {};
  }
  return bad_value("think",
                   "'think' must be true, false, \"low\", \"medium\", \"high\" or "
                   "\"max\".");
}

Result<void> read_keep_alive(const json::value& value, Fields& fields) {
  const auto seconds = read_keep_alive(value);
  if (!seconds) return seconds.error();
  fields.keep_alive = *seconds;
  return {};
}

Result<void> read_num_predict(const json::value& value, Fields& fields) {
  const auto number = as_integer(value);
  if (!number) return wrong_type("options.num_predict", "an integer", value);
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  fields.job.max_tokens = *number < 0 ? kAsManyAsFit : static_cast<int>(std::min(*number, kMost));
  return {};
}

Result<void> read_top_k(const json::value& value, Fields& fields) {
  const auto number = as_integer(value);
  if (!number) return wrong_type("options.top_k", "an integer", value);
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  fields.job.sampling.top_k = static_cast<int>(std::clamp(*number, std::int64_t{0}, kMost));
  return {};
}

Result<void> read_seed(const json::value& value, Fields& fields) {
  const auto seed = as_seed("options.seed", value);
  if (!seed) return seed.error();
  if (seed->said != "-1") fields.seed = seed->number;
  return {};
}

Result<void> read_stop(const json::value& value, Fields& fields) {
  auto stops = read_stops(value, "options.stop");
  if (!stops) return stops.error();
  fields.text.stop = *std::move(stops);
  return {};
}

}  // namespace mlxd::api::ollama
