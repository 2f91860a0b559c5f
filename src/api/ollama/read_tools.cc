#include <string>
#include <string_view>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_values.h"
#include "api/ollama/read_values.h"
#include "api/tools.h"

namespace mlxd::api::ollama {
namespace {

namespace json = boost::json;

// A tool's type is a function's, if it says one.
Result<void> read_tool(const json::value& value, const std::string& place, ToolList& tools,
                       Fields& fields) {
  if (!value.is_object()) return wrong_type(place, "an object with 'function'", value);
  const json::value* function = nullptr;
  for (const auto& member : value.get_object()) {
    const std::string_view key(member.key().data(), member.key().size());
    if (member.value().is_null()) continue;
    if (key == "function") {
      function = &member.value();
    } else if (key == "type") {
      if (member.value() == "function") continue;
      return bad_value(place + ".type", fmt::format("'{}.type' must be \"function\".", place));
    } else if (auto refused = fields.unknown(fmt::format("{}.{}", place, key)); !refused) {
      return refused;
    }
  }
  if (function == nullptr) {
    return bad_value(place + ".function",
                     fmt::format("'{}.function' is missing; send its name and parameters.", place));
  }
  return tools.read(*function, place + ".function", false, fields);
}

}  // namespace

Result<void> read_tools(const json::value& value, Fields& fields) {
  if (!value.is_array()) return wrong_type("tools", "an array of up to 256 functions", value);
  const json::array& list = value.get_array();
  if (list.size() > kMaxTools) {
    return bad_value(
        "tools", fmt::format("'tools' has {} entries; send at most {}.", list.size(), kMaxTools));
  }
  ToolList tools;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (auto read = read_tool(list[i], fmt::format("tools[{}]", i), tools, fields); !read) {
      return read;
    }
  }
  tools.put_into(fields.chat);
  return {};
}

}  // namespace mlxd::api::ollama
