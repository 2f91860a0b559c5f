#include "api/openai/read_grammar.h"

#include <string>
#include <string_view>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"
#include "api/openai/read_values.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using Kind = GrammarSource::Kind;

Result<void> hold_to(Kind kind, std::string text, std::string param, RequestFields& fields) {
  if (fields.text.grammar) {
    return bad_value(param, fmt::format("'{}' and '{}' both say what the answer is to be; send one "
                                        "of them.",
                                        fields.text.grammar->param, param));
  }
  fields.text.grammar = RequestedGrammar{{kind, std::move(text)}, std::move(param)};
  return {};
}

Result<void> read_text(Kind kind, std::string param, std::string_view wanted,
                       const json::value& value, RequestFields& fields) {
  if (!value.is_string() || value.get_string().empty()) return wrong_type(param, wanted, value);
  return hold_to(kind, std::string(view(value.get_string())), std::move(param), fields);
}

// A schema, or as some send it, one in a string.
Result<void> read_schema(std::string param, const json::value& value, RequestFields& fields) {
  if (value.is_string()) {
    return read_text(Kind::json_schema, std::move(param), "a JSON schema", value, fields);
  }
  if (!value.is_object() && !value.is_bool()) return wrong_type(param, "a JSON schema", value);
  return hold_to(Kind::json_schema, json::serialize(value), std::move(param), fields);
}

Result<void> read_regex(std::string param, const json::value& value, RequestFields& fields) {
  return read_text(Kind::regex, std::move(param), "a regular expression", value, fields);
}

Result<void> read_grammar_text(std::string param, const json::value& value, RequestFields& fields) {
  return read_text(Kind::grammar, std::move(param), "a grammar in GBNF or Lark", value, fields);
}

Result<void> read_choices(std::string param, const json::value& value, RequestFields& fields) {
  constexpr std::string_view kWanted = "an array of strings, one at least";
  if (!value.is_array() || value.get_array().empty()) return wrong_type(param, kWanted, value);
  for (const json::value& choice : value.get_array()) {
    if (!choice.is_string()) return wrong_type(param, kWanted, value);
  }
  return hold_to(Kind::choice, json::serialize(value), std::move(param), fields);
}

Result<void> read_any_object(std::string param, const json::value& value, RequestFields& fields) {
  if (!value.is_bool()) return wrong_type(param, "true or false", value);
  if (!value.get_bool()) return {};
  return hold_to(Kind::json_object, {}, std::move(param), fields);
}

// What stands in "json_schema" beside the schema changes nothing: an answer is held to it in any
// case.
Result<void> read_named_schema(const json::value& value, RequestFields& fields) {
  constexpr std::string_view kParam = "response_format.json_schema";
  if (!value.is_object()) return wrong_type(kParam, "an object with 'name' and 'schema'", value);
  const json::value* schema = nullptr;
  for (const auto& [key, member] : value.get_object()) {
    const std::string param =
        fmt::format("{}.{}", kParam, std::string_view(key.data(), key.size()));
    if (key == "schema") {
      schema = &member;
    } else if (key == "name" || key == "description") {
      if (!member.is_string() && !member.is_null()) return wrong_type(param, "a string", member);
    } else if (key == "strict") {
      if (!member.is_bool() && !member.is_null()) return wrong_type(param, "true or false", member);
    } else if (auto known = fields.unknown(param); !known) {
      return known;
    }
  }
  if (schema == nullptr) {
    return bad_value(std::string(kParam),
                     fmt::format("'{}' has no 'schema'; send the JSON schema there.", kParam));
  }
  return read_schema(fmt::format("{}.schema", kParam), *schema, fields);
}

}  // namespace

Result<void> read_response_format(const json::value& value, RequestFields& fields) {
  constexpr std::string_view kWanted =
      "an object whose 'type' is \"text\", \"json_object\" or \"json_schema\"";
  if (!value.is_object()) return wrong_type("response_format", kWanted, value);
  const json::object& format = value.get_object();
  const json::value* type = format.if_contains("type");
  if (type == nullptr || !type->is_string()) {
    return bad_value("response_format",
                     fmt::format("'response_format' has no type; send {}.", kWanted));
  }
  const std::string_view kind = view(type->get_string());
  if (kind != "text" && kind != "json_object" && kind != "json_schema") {
    return bad_value("response_format.type",
                     fmt::format("'response_format.type' is '{:.40}'; send \"text\", "
                                 "\"json_object\" or \"json_schema\".",
                                 kind));
  }
  const json::value* schema = nullptr;
  for (const auto& [key, member] : format) {
    const std::string_view name(key.data(), key.size());
    if (name == "type") continue;
    const bool is_schema = (kind == "json_schema" && name == "json_schema") ||
                           (kind == "json_object" && name == "schema");
    if (is_schema) {
      schema = &member;
    } else if (auto known = fields.unknown(fmt::format("response_format.{}", name)); !known) {
      return known;
    }
  }
  if (kind == "text") return {};
  if (kind == "json_object") {
    if (schema != nullptr) return read_schema("response_format.schema", *schema, fields);
    return hold_to(Kind::json_object, {}, "response_format", fields);
  }
  if (schema == nullptr) {
    return bad_value("response_format",
                     "'response_format' has no 'json_schema'; send an object with 'name' and "
                     "'schema' there.");
  }
  return read_named_schema(*schema, fields);
}

Result<void> read_structured_outputs(const json::value& value, RequestFields& fields) {
  constexpr std::string_view kParam = "structured_outputs";
  if (!value.is_object()) {
    return wrong_type(kParam, "an object with json, regex, choice, grammar or json_object", value);
  }
  for (const auto& [key, member] : value.get_object()) {
    if (member.is_null()) continue;
    std::string param = fmt::format("{}.{}", kParam, std::string_view(key.data(), key.size()));
    const auto read = key == "json"          ? read_schema(param, member, fields)
                      : key == "regex"       ? read_regex(param, member, fields)
                      : key == "choice"      ? read_choices(param, member, fields)
                      : key == "grammar"     ? read_grammar_text(param, member, fields)
                      : key == "json_object" ? read_any_object(param, member, fields)
                                             : fields.unknown(param);
    if (!read) return read;
  }
  return {};
}

Result<void> read_json_schema(const json::value& value, RequestFields& fields) {
  return read_schema("json_schema", value, fields);
}
Result<void> read_guided_json(const json::value& value, RequestFields& fields) {
  return read_schema("guided_json", value, fields);
}
Result<void> read_guided_regex(const json::value& value, RequestFields& fields) {
  return read_regex("guided_regex", value, fields);
}
Result<void> read_guided_choice(const json::value& value, RequestFields& fields) {
  return read_choices("guided_choice", value, fields);
}
Result<void> read_guided_grammar(const json::value& value, RequestFields& fields) {
  return read_grammar_text("guided_grammar", value, fields);
}
Result<void> read_grammar(const json::value& value, RequestFields& fields) {
  return read_grammar_text("grammar", value, fields);
}

}  // namespace mlxd::api
