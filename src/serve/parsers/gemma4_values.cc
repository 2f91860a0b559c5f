#include "serve/parsers/gemma4_values.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

namespace mlxd {
namespace {

namespace json = boost::json;

constexpr int kMostNested = 32;
constexpr int kMostReferences = 16;      // one to another
constexpr std::int64_t kMostItems = 64;  // that are counted
constexpr std::string_view kNumber = "/-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?/";

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

std::string either(const std::vector<std::string>& all) {
  return "(" + fmt::format("{}", fmt::join(all, " | ")) + ")";
}

bool is_word(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return c == '_' || c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
  });
}

// A count of a schema, none where it is absent or too large to be counted.
std::optional<std::int64_t> count(const json::object& schema, std::string_view name) {
  const json::value* value = schema.if_contains(name);
  if (value == nullptr || !value->is_int64()) return std::nullopt;
  const std::int64_t number = value->get_int64();
  if (number < 0 || number > kMostItems) return std::nullopt;
  return number;
}

bool is_required(const json::object& schema, std::string_view name) {
  const json::value* required = schema.if_contains("required");
  return required != nullptr && required->is_array() &&
         std::ranges::any_of(required->get_array(), [&](const json::value& one) {
           return one.is_string() && view(one.get_string()) == name;
         });
}

}  // namespace

Gemma4Values::Gemma4Values(CallGrammar& to, std::string_view tool, std::string quote)
    : to_(to), tool_(tool), schema_(json::parse(to.schema_of(tool))), quote_(std::move(quote)) {}

void Gemma4Values::define_any(CallGrammar& to, std::string_view quote) {
  const std::string text = to.rule(CallGrammar::text(quote) + " " + to.text_until(quote));
  to.define("value", fmt::format("{} | {} | \"true\" | \"false\" | \"null\" | object | list", text,
                                 kNumber));
  to.define("object", "\"{\" (member (\",\" member)*)? \"}\"");
  to.define("member", "key value");
  to.define("key", "(/[A-Za-z_][A-Za-z0-9_]{0,99}/ | " + text + ") \":\"");
  to.define("list", "\"[\" (value (\",\" value)*)? \"]\"");
}

std::string Gemma4Values::of(const std::string& pointer, int depth) {
  boost::system::error_code failed;
  const json::value* found = schema_.find_pointer(pointer, failed);
  if (found == nullptr || !found->is_object() || depth > kMostNested) return "value";
  const json::object& schema = found->get_object();
  if (schema.contains("$ref")) return referred(pointer, depth);
  if (schema.contains("allOf") || schema.contains("not")) return "value";
  if (const json::value* one = schema.if_contains("const")) return literal(*one);
  if (const json::value* values = schema.if_contains("enum")) {
    if (!values->is_array() || values->get_array().empty()) return "value";
    std::vector<std::string> all;
    for (const json::value& one : values->get_array()) all.push_back(literal(one));
    return either(all);
  }
  for (const std::string_view name : {"anyOf", "oneOf"}) {
    const json::value* schemas = schema.if_contains(name);
    if (schemas == nullptr) continue;
    if (!schemas->is_array() || schemas->get_array().empty()) return "value";
    std::vector<std::string> all;
    for (std::size_t i = 0; i < schemas->get_array().size(); ++i) {
      all.push_back(of(fmt::format("{}/{}/{}", pointer, name, i), depth + 1));
    }
    return either(all);
  }
  return of_types(schema, pointer, depth);
}

// A rule of its own, which may name itself within. References that lead nowhere, or in a circle,
// are any value.
std::string Gemma4Values::referred(std::string pointer, int depth) {
  boost::system::error_code failed;
  for (int i = 0; i < kMostReferences; ++i) {
    const json::value* found = schema_.find_pointer(pointer, failed);
    if (found == nullptr) return "value";
    const json::value* reference =
        found->is_object() ? found->get_object().if_contains("$ref") : nullptr;
    if (reference == nullptr) {
      const auto [known, fresh] = rules_.try_emplace(pointer);
      if (!fresh) return known->second;
      const std::string rule = known->second = to_.new_name();
      to_.define(rule, of(pointer, depth + 1));
      return rule;
    }
    if (!reference->is_string() || !view(reference->get_string()).starts_with('#')) return "value";
    pointer = view(reference->get_string()).substr(1);
  }
  return "value";
}

std::string Gemma4Values::of_types(const json::object& schema, const std::string& pointer,
                                   int depth) {
  const json::value* type = schema.if_contains("type");
  if (type == nullptr) {
    if (schema.contains("properties")) return object(schema, pointer, depth);
    if (schema.contains("items")) return list(schema, pointer, depth);
    return "value";
  }
  if (type->is_string()) return of_type(view(type->get_string()), schema, pointer, depth);
  if (!type->is_array() || type->get_array().empty()) return "value";
  std::vector<std::string> all;
  for (const json::value& one : type->get_array()) {
    if (!one.is_string()) return "value";
    all.push_back(of_type(view(one.get_string()), schema, pointer, depth));
  }
  return either(all);
}

std::string Gemma4Values::of_type(std::string_view type, const json::object& schema,
                                  const std::string& pointer, int depth) {
  const bool alone = schema.at("type").is_string();
  if (type == "string") {
    return CallGrammar::text(quote_) + " " + to_.text_at(tool_, pointer, quote_);
  }
  if (type == "object") return object(schema, pointer, depth);
  if (type == "array") return list(schema, pointer, depth);
  if (type == "null") return "\"null\"";
  if (type == "boolean") return "(\"true\" | \"false\")";
  if (type == "integer") return alone ? to_.json_at(tool_, pointer) : "/-?(0|[1-9][0-9]*)/";
  if (type == "number") return alone ? to_.json_at(tool_, pointer) : std::string(kNumber);
  return "value";
}

// As for JSON, an object whose members are listed has no others where it does not say so.
std::string Gemma4Values::object(const json::object& schema, const std::string& pointer,
                                 int depth) {
  const json::value* properties = schema.if_contains("properties");
  const json::value* others = schema.if_contains("additionalProperties");
  const bool any_others = others != nullptr && others->is_bool() && others->get_bool();
  if (properties == nullptr || !properties->is_object() || properties->get_object().empty()) {
    if (others == nullptr || any_others) return "object";
    if (others->is_bool()) return "\"{}\"";
    const std::string member = to_.rule("key " + of(pointer + "/additionalProperties", depth + 1));
    return fmt::format("\"{{\" ({} (\",\" {})*)? \"}}\"", member, member);
  }
  std::vector<CallGrammar::Item> items;
  for (const auto& property : properties->get_object()) {
    const std::string_view name(property.key().data(), property.key().size());
    items.push_back(
        {key(name) + " " + of(pointer + "/properties" + CallGrammar::step(name), depth + 1),
         is_required(schema, name)});
  }
  if (others != nullptr && (any_others || others->is_object())) {
    const std::string other =
        any_others ? "member" : to_.rule("key " + of(pointer + "/additionalProperties", depth + 1));
    items.push_back({fmt::format("{} (\",\" {})*", other, other)});
  }
  return "\"{\" " + to_.each_of(items, "\",\"") + " \"}\"";
}

std::string Gemma4Values::list(const json::object& schema, const std::string& pointer, int depth) {
  const json::value* items = schema.if_contains("items");
  if (schema.contains("prefixItems") || (items != nullptr && items->is_array())) return "list";
  const std::string item = items == nullptr ? "value" : to_.rule(of(pointer + "/items", depth + 1));
  const std::int64_t least = count(schema, "minItems").value_or(0);
  const std::optional<std::int64_t> most = count(schema, "maxItems");
  if (most && *most < least) return "list";
  if (most && *most == 0) return "\"[]\"";
  const std::string more =
      most ? fmt::format("{{{},{}}}", std::max<std::int64_t>(least - 1, 0), *most - 1)
           : fmt::format("{{{},}}", std::max<std::int64_t>(least - 1, 0));
  const std::string all = fmt::format("{} (\",\" {}){}", item, item, more);
  return least > 0 ? fmt::format("\"[\" {} \"]\"", all) : fmt::format("\"[\" ({})? \"]\"", all);
}

// Of what nests, some value of its kind.
std::string Gemma4Values::literal(const json::value& value) const {
  if (value.is_object()) return "object";
  if (value.is_array()) return "list";
  if (value.is_string()) {
    return CallGrammar::text(quote_ + std::string(view(value.get_string())) + quote_);
  }
  return CallGrammar::text(json::serialize(value));
}

std::string Gemma4Values::key(std::string_view name) const {
  if (is_word(name)) return CallGrammar::text(std::string(name) + ":");
  return CallGrammar::text(quote_ + std::string(name) + quote_ + ":");
}

}  // namespace mlxd
