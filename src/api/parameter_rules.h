// How a parameter of a request is checked and where it goes: the rules of which the tables of the
// dialects consist. `Fields` is a dialect's request while it is read.
#pragma once

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <variant>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"
#include "api/request_parts.h"
#include "base/error.h"

namespace mlxd::api {

// Accepted for the clients that send it; nothing depends on it.
enum class NoBehaviour { text, object, boolean, number };

// Known to the dialect's API, not to this server: refused by name, unless the value asks for what
// the server does anyway (`tools: []`).
struct Unsupported {
  bool (*asks_for_nothing)(const boost::json::value& value);
};

template <class Fields>
struct ParameterRules {
  // Where a value goes.
  template <class T>
  using Field = T& (*)(Fields&);
  // A number in [low, high], or (low, high].
  struct Number {
    Field<float> field;
    double low, high;
    bool above_low = false;
  };
  struct Integer {
    Field<int> field;
    int low, high;
  };
  struct Flag {
    Field<bool> field;
  };
  // `schema` says what is read: a name of openapi/fields.json, or of a table.
  struct Custom {
    Result<void> (*read)(const boost::json::value& value, Fields& fields);
    std::string_view schema;
  };
  using Rule = std::variant<Number, Integer, Flag, Custom, NoBehaviour, Unsupported>;
};

// The fields that rows write to: `FieldsOf<Fields>::job<&GenerateJob::seed>` is a Rules::Field.
template <class Fields>
struct FieldsOf {
  template <auto member>
  static auto& own(Fields& fields) {
    return fields.*member;
  }
  template <auto member>
  static auto& job(Fields& fields) {
    return fields.job.*member;
  }
  template <auto member>
  static auto& sampling(Fields& fields) {
    return fields.job.sampling.*member;
  }
  template <auto member>
  static auto& text(Fields& fields) {
    return fields.text.*member;
  }
};

namespace parameter_rules {

// For Unsupported.
inline bool is_true(const boost::json::value& value) { return value.is_bool() && value.get_bool(); }
inline bool is_false(const boost::json::value& value) {
  return value.is_bool() && !value.get_bool();
}
inline bool is_zero(const boost::json::value& value) {
  return value.is_number() && value.to_number<double>() == 0;
}
inline bool is_one(const boost::json::value& value) {
  return value.is_number() && value.to_number<double>() == 1;
}

inline constexpr double kMaxFloat = std::numeric_limits<float>::max();

inline std::string range_words(std::string_view noun, double low, double high, bool above_low) {
  if (high >= kMaxFloat)
    return fmt::format("{} {} {}", noun, above_low ? "above" : "of at least", low);
  return fmt::format("{} {} {} to {}", noun, above_low ? "above" : "from", low, high);
}

template <class Fields>
struct Describe {
  using Rules = ParameterRules<Fields>;

  std::string operator()(const typename Rules::Number& rule) const {
    return range_words("a number", rule.low, rule.high, rule.above_low);
  }
  std::string operator()(const typename Rules::Integer& rule) const {
    return range_words("an integer", rule.low, rule.high, false);
  }
  std::string operator()(const typename Rules::Flag&) const { return "true or false"; }
  std::string operator()(const typename Rules::Custom&) const { return {}; }
  std::string operator()(NoBehaviour type) const {
    switch (type) {
      case NoBehaviour::text:
        return "a string";
      case NoBehaviour::object:
        return "an object";
      case NoBehaviour::number:
        return "a number";
      case NoBehaviour::boolean:
        break;
    }
    return "true or false";
  }
  std::string operator()(const Unsupported&) const { return "nothing yet: not supported"; }
};

template <class Fields>
struct Read {
  using Rules = ParameterRules<Fields>;

  std::string_view name;
  std::string_view accepts;
  const boost::json::value& value;
  Fields& fields;

  Error type_error() const { return wrong_type(name, accepts, value); }
  Error range_error() const {
    return bad_value(std::string(name),
                     fmt::format("'{}' is out of range; send {}.", name, accepts));
  }

  Result<void> operator()(const typename Rules::Number& rule) const {
    if (!value.is_number()) return type_error();
    const auto number = value.to_number<double>();
    const auto stored = static_cast<float>(std::clamp(number, -kMaxFloat, kMaxFloat));
    // The second test is for what only rounding to float brings to the excluded bound.
    const bool in_range = number >= rule.low && number <= rule.high &&
                          (!rule.above_low || stored > static_cast<float>(rule.low));
    if (!in_range) return range_error();
    rule.field(fields) = stored;
    return {};
  }
  Result<void> operator()(const typename Rules::Integer& rule) const {
    if (!value.is_number()) return type_error();
    const auto number = as_integer(value);
    if (!number && value.is_double()) return type_error();
    if (!number || *number < rule.low || *number > rule.high) return range_error();
    rule.field(fields) = static_cast<int>(*number);
    return {};
  }
  Result<void> operator()(const typename Rules::Flag& rule) const {
    if (!value.is_bool()) return type_error();
    rule.field(fields) = value.get_bool();
    return {};
  }
  Result<void> operator()(const typename Rules::Custom& rule) const {
    return rule.read(value, fields);
  }
  Result<void> operator()(NoBehaviour type) const {
    const bool fits = type == NoBehaviour::text     ? value.is_string()
                      : type == NoBehaviour::object ? value.is_object()
                      : type == NoBehaviour::number ? value.is_number()
                                                    : value.is_bool();
    if (!fits) return type_error();
    return {};
  }
  Result<void> operator()(const Unsupported& rule) const {
    if (rule.asks_for_nothing(value)) return {};
    Error error =
        bad_value(std::string(name),
                  fmt::format("'{}' is not supported by this server; leave it out.", name));
    error.code = "unsupported_parameter";
    return error;
  }
};

}  // namespace parameter_rules

// What a client may send by this rule, in words: "a number from 0 to 2". Of a Custom one: nothing,
// for its row has its own words.
template <class Fields>
std::string describe_rule(const typename ParameterRules<Fields>::Rule& rule) {
  return std::visit(parameter_rules::Describe<Fields>{}, rule);
}

// Checks `value` (not null) and puts it into the fields; an error names `name` and says `accepts`.
template <class Fields>
Result<void> read_by_rule(const typename ParameterRules<Fields>::Rule& rule, std::string_view name,
                          std::string_view accepts, const boost::json::value& value,
                          Fields& fields) {
  return std::visit(parameter_rules::Read<Fields>{name, accepts, value, fields}, rule);
}

// A row of a table of which all rows apply.
template <class Fields>
struct ParameterRow {
  using Rules = ParameterRules<Fields>;

  std::string_view name;
  typename Rules::Rule rule;
  std::string_view accepts = {};  // in words, where the rule does not say it

  std::string describe() const {
    return accepts.empty() ? describe_rule<Fields>(rule) : std::string(accepts);
  }
};

// Reads every member of `object` that is not null by the row of its name; one without a row goes to
// `fields.unknown`. `place` is where the object stands, for errors: "options.", or "".
template <class Fields, class Table>
Result<void> read_by_table(const boost::json::object& object, const Table& rows,
                           std::string_view place, Fields& fields) {
  UnknownNames unknown;
  for (const auto& member : object) {
    if (member.value().is_null()) continue;
    const std::string_view key(member.key().data(), member.key().size());
    const std::string name = fmt::format("{}{}", place, key);
    const auto row = std::find_if(std::begin(rows), std::end(rows),
                                  [&](const auto& each) { return each.name == key; });
    auto read = row == std::end(rows) ? fields.unknown(name)
                                      : read_by_rule<Fields>(row->rule, name, row->describe(),
                                                             member.value(), fields);
    if (!read && !unknown.took(read.error())) return read;
  }
  return unknown.result();
}

}  // namespace mlxd::api
