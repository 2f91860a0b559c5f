#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

namespace mlxd::api::openapi {

// The parts of a text of a table; none is empty.
inline std::vector<std::string_view> words_of(std::string_view text, char separator = ' ') {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

// To a component of the document.
inline boost::json::object reference(std::string_view kind, std::string_view name) {
  return {{"$ref", "#/components/" + std::string(kind) + "/" + std::string(name)}};
}

}  // namespace mlxd::api::openapi
