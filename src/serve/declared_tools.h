#pragma once

#include <functional>
#include <map>
#include <string>

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

// A function's parameters by name, as far as its schema tells their types.
using ParameterTypes = std::map<std::string, unsigned, std::less<>>;

struct DeclaredTool {
  ParameterTypes types;
  std::string parameters = "{}";  // their JSON schema
  bool strict = false;            // calls must be of the schema
};

// The functions that a request declares, by name: what parsers and grammars need to know of them.
using DeclaredTools = std::map<std::string, DeclaredTool, std::less<>>;

}  // namespace mlxd
