#pragma once

#include <map>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include "serve/parsers/call_grammar.h"

namespace mlxd {

// Values of a tool's schema as Gemma 4 writes them (gemma4.cc), as Lark: strings between quotes
// that are a token and hold no escapes, objects with bare keys. They are held to types, members
// (those that are listed come in their order), items and their number, enumerations, references
// and alternatives, and strings and numbers to all that is said of them; what else a schema says of
// objects and lists is not enforced.
class Gemma4Values {
 public:
  // `to` outlives it, and knows the tool. `quote`: its mark.
  Gemma4Values(CallGrammar& to, std::string_view tool, std::string quote);

  // Of the schema at a JSON pointer.
  std::string at(const std::string& pointer) { return of(pointer, 0); }

  // Once for each grammar: the rules to which this class refers, of values of any kind.
  static void define_any(CallGrammar& to, std::string_view quote);

 private:
  std::string of(const std::string& pointer, int depth);
  std::string referred(std::string pointer, int depth);
  std::string of_types(const boost::json::object& schema, const std::string& pointer, int depth);
  std::string of_type(std::string_view type, const boost::json::object& schema,
                      const std::string& pointer, int depth);
  std::string object(const boost::json::object& schema, const std::string& pointer, int depth);
  std::string list(const boost::json::object& schema, const std::string& pointer, int depth);
  std::string literal(const boost::json::value& value) const;
  std::string key(std::string_view name) const;

  CallGrammar& to_;
  const std::string tool_;
  const boost::json::value schema_;
  const std::string quote_;
  std::map<std::string, std::string> rules_;  // of what is referred to, by pointer
};

}  // namespace mlxd
