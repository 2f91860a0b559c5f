#include "api/openai/read_values.h"

#include <charconv>
#include <limits>
#include <string>
#include <utility>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/request_parts.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

std::string to_string(const json::string& text) { return {text.data(), text.size()}; }

std::optional<int> as_token(const json::value& value) {
  const auto id = as_integer(value);
  if (!id || *id < 0 || *id > std::numeric_limits<int>::max()) return std::nullopt;
  return static_cast<int>(*id);
}

// A token id in its one decimal form: "07" would be a second name of 7.
std::optional<int> token_of_key(std::string_view key) {
  if (key.empty() || (key.size() > 1 && key.front() == '0')) return std::nullopt;
  int token = -1;
  const char* const end = key.data() + key.size();
  const auto parsed = std::from_chars(key.data(), end, token);
  if (parsed.ec != std::errc{} || parsed.ptr != end || token < 0) return std::nullopt;
  return token;
}

Result<Prompt> read_token_prompt(const json::array& ids, const std::string& place) {
  if (ids.empty()) {
    return bad_value("prompt", fmt::format("'{}' is empty; send at least one token id.", place));
  }
  TokenPrompt prompt;
  prompt.tokens.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto id = as_token(ids[i]);
    if (!id) {
      return bad_value(
          "prompt", fmt::format("'{}[{}]' is not a token id; send integers from 0 up.", place, i));
    }
    prompt.tokens.push_back(*id);
  }
  return Prompt(std::move(prompt));
}

Result<Prompt> read_one_prompt(const json::value& value, const std::string& place) {
  if (value.is_string()) return Prompt(TextPrompt{to_string(value.get_string())});
  if (value.is_array()) return read_token_prompt(value.get_array(), place);
  return bad_value("prompt", fmt::format("'{}' is {}; send a string or an array of token ids.",
                                         place, kind_name(value)));
}

}  // namespace

Result<void> read_model(const json::value& value, RequestFields& fields) {
  if (!value.is_string()) return wrong_type("model", "a model id", value);
  fields.model = to_string(value.get_string());
  return {};
}

Result<void> read_prompt(const json::value& value, RequestFields& fields) {
  if (!value.is_array() || value.get_array().empty() || value.get_array()[0].is_number()) {
    auto prompt = read_one_prompt(value, "prompt");
    if (!prompt) return prompt.error();
    fields.prompts.push_back(*std::move(prompt));
    return {};
  }
  const auto& list = value.get_array();
  if (list.size() > kMaxPrompts) {
    return bad_value("prompt", fmt::format("'prompt' has {} entries; send at most {} in a request.",
                                           list.size(), kMaxPrompts));
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i].is_string() != list[0].is_string()) {
      return bad_value("prompt", "'prompt' mixes strings and token arrays; send one kind.");
    }
    auto prompt = read_one_prompt(list[i], fmt::format("prompt[{}]", i));
    if (!prompt) return prompt.error();
    fields.prompts.push_back(*std::move(prompt));
  }
  return {};
}

Result<void> read_seed(const json::value& value, RequestFields& fields) {
  auto seed = as_seed("seed", value);
  if (!seed) return seed.error();
  fields.job.sampling.seed = seed->number;
  fields.seed = std::move(seed->said);
  return {};
}

Result<void> read_stop(const json::value& value, RequestFields& fields) {
  auto stops = read_stops(value, "stop");
  if (!stops) return stops.error();
  fields.text.stop = *std::move(stops);
  return {};
}

Result<void> read_logit_bias(const json::value& value, RequestFields& fields) {
  if (!value.is_object()) {
    return wrong_type("logit_bias", "an object such as {\"50256\": -100}", value);
  }
  for (const auto& [key, bias] : value.get_object()) {
    const auto token = token_of_key({key.data(), key.size()});
    if (!token) {
      return bad_value("logit_bias",
                       fmt::format("'logit_bias' has the key '{:.40}'; send token ids, written as "
                                   "decimal strings.",
                                   std::string_view(key.data(), key.size())));
    }
    const double number = bias.is_number() ? bias.to_number<double>() : 1e9;
    if (!(number >= -100 && number <= 100)) {
      return bad_value(
          "logit_bias",
          fmt::format("'logit_bias' of token {} is not a number from -100 to 100.", *token));
    }
    fields.job.sampling.logit_bias.push_back({*token, static_cast<float>(number)});
  }
  return {};
}

Result<void> read_stream_options(const json::value& value, RequestFields& fields) {
  if (!value.is_object()) {
    return wrong_type("stream_options", "an object such as {\"include_usage\": true}", value);
  }
  fields.has_stream_options = true;
  for (const auto& [key, option] : value.get_object()) {
    const auto name = "stream_options." + std::string(key.data(), key.size());
    if (option.is_null()) continue;
    if (key == "include_usage") {
      if (!option.is_bool()) return wrong_type(name, "true or false", option);
      fields.include_usage = option.get_bool();
    } else if (key == "continuous_usage_stats") {
      if (!option.is_bool()) return wrong_type(name, "true or false", option);
      fields.continuous_usage = option.get_bool();
    } else if (option == false && key == "include_obfuscation") {
      continue;  // asks for what the server does
    } else if (auto refused = fields.unknown(name); !refused) {
      return refused;
    }
  }
  return {};
}

Result<void> read_cache_key(const json::value& value, RequestFields& fields) {
  if (!value.is_string()) return wrong_type("prompt_cache_key", "a string", value);
  if (!value.get_string().empty()) fields.text.keep = {{KeepRule::kAll, kSessionTime}};
  return {};
}

Result<void> read_timeout(const json::value& value, RequestFields& fields) {
  const double seconds = value.is_number() ? value.to_number<double>() : 0;
  if (!value.is_number()) return wrong_type("timeout", "a number of seconds", value);
  if (!(seconds > 0)) {
    return bad_value("timeout", "'timeout' is out of range; send seconds, more than 0.");
  }
  fields.timeout_seconds = seconds;
  return {};
}

}  // namespace mlxd::api
