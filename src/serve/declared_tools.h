#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mlxd {

// The JSON types that a value may have, one bit each. 0: nothing is known.
enum JsonTypes : unsigned {
  kAnyJson = 0,
  kJsonString = 1,
  kJsonNumber = 2,
  kJsonInteger = 4,
  kJsonBoolean = 8,
  kJsonNull = 16,
  kJsonObject = 32,
  kJsonArray = 64,
};

// One of a function's parameters, as far as its schema tells.
struct ToolParameter {
  std::string name;
  unsigned types = kAnyJson;
  bool required = false;
  std::vector<std::string> choices = {};  // of a string that is one of these
};

struct DeclaredTool {
  std::vector<ToolParameter> parameters;  // in the schema's order
  std::string schema = "{}";              // of all arguments, a JSON object
  bool strict = false;                    // calls must be of the schema

  unsigned types_of(std::string_view parameter) const {
    for (const ToolParameter& known : parameters) {
      if (known.name == parameter) return known.types;
    }
    return kAnyJson;
  }
};

// The functions that a request declares, by name: what parsers and grammars need to know of them.
using DeclaredTools = std::map<std::string, DeclaredTool, std::less<>>;

}  // namespace mlxd
