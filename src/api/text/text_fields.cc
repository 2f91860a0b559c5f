#include "api/text/text_fields.h"

#include <limits>
#include <utility>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using Row = ParameterRow<TextFields>;
using Rules = Row::Rules;

constexpr std::string_view kTokenIds = "an array of token ids";

Result<void> read_model(const json::value& value, TextFields& fields) {
  if (!value.is_string()) return wrong_type("model", "a model id", value);
  fields.model = std::string(value.get_string());
  return {};
}

Result<void> read_text(std::string_view name, const json::value& value, TextFields& fields) {
  if (!value.is_string()) return wrong_type(name, "a string", value);
  fields.text = std::string(value.get_string());
  return {};
}
Result<void> read_content(const json::value& value, TextFields& fields) {
  return read_text("content", value, fields);
}
Result<void> read_prompt(const json::value& value, TextFields& fields) {
  return read_text("prompt", value, fields);
}

Result<void> read_tokens(const json::value& value, TextFields& fields) {
  if (!value.is_array()) return wrong_type("tokens", kTokenIds, value);
  std::vector<int> tokens;
  tokens.reserve(value.get_array().size());
  for (const json::value& each : value.get_array()) {
    const auto token = as_integer(each);
    if (!token || *token < 0 || *token > std::numeric_limits<int>::max()) {
      return bad_value("tokens", fmt::format("'tokens[{}]' is not a token id; send integers from 0 "
                                             "up.",
                                             tokens.size()));
    }
    tokens.push_back(static_cast<int>(*token));
  }
  fields.tokens = std::move(tokens);
  return {};
}

Result<void> read_special(std::string_view name, const json::value& value, TextFields& fields) {
  if (!value.is_bool()) return wrong_type(name, "true or false", value);
  fields.add_special = value.get_bool();
  return {};
}
Result<void> read_add_special(const json::value& value, TextFields& fields) {
  return read_special("add_special", value, fields);
}
Result<void> read_add_special_tokens(const json::value& value, TextFields& fields) {
  return read_special("add_special_tokens", value, fields);
}

bool& parse_special(TextFields& fields) { return fields.parse_special; }
bool& pieces(TextFields& fields) { return fields.pieces; }

const Row kModel{"model", Rules::Custom{read_model, "ModelId"},
                 "a model id (GET /v1/models lists them)"};

// llama-server's
const Row kTokenizeContent[] = {
    kModel,
    {"content", Rules::Custom{read_content, "Text"}, "a string"},
    {"add_special", Rules::Custom{read_add_special, "Flag"}, "true or false"},
    {"parse_special", Rules::Flag{parse_special}},
    {"with_pieces", Rules::Flag{pieces}},
};
// vLLM's
const Row kTokenizePrompt[] = {
    kModel,
    {"prompt", Rules::Custom{read_prompt, "Text"}, "a string"},
    {"add_special_tokens", Rules::Custom{read_add_special_tokens, "Flag"}, "true or false"},
    {"return_token_strs", Rules::Flag{pieces}},
};
// both
const Row kDetokenize[] = {kModel, {"tokens", Rules::Custom{read_tokens, "TokenIds"}, kTokenIds}};
const Row kTokenizerInfo[] = {kModel};

}  // namespace

std::span<const Row> text_parameters(TextQuestion question) {
  switch (question) {
    case TextQuestion::tokenize_content:
      return kTokenizeContent;
    case TextQuestion::tokenize_prompt:
      return kTokenizePrompt;
    case TextQuestion::detokenize:
      return kDetokenize;
    case TextQuestion::tokenizer_info:
      break;
  }
  return kTokenizerInfo;
}

Result<TextFields> read_text_fields(const json::object& body, TextQuestion question, bool lenient) {
  TextFields fields;
  fields.lenient = lenient;
  auto read = read_by_table(body, text_parameters(question), "", fields);
  if (!read) return read.error();
  return fields;
}

}  // namespace mlxd::api
