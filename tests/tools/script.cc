#include "tools/script.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace mlxd::testing {
namespace {

std::vector<std::string> texts(const boost::json::object& turn, std::string_view name) {
  std::vector<std::string> all;
  if (const auto* found = turn.if_contains(name)) {
    for (const auto& text : found->as_array()) all.emplace_back(text.as_string());
  }
  return all;
}

bool has_all(std::string_view text, const std::vector<std::string>& parts) {
  return std::ranges::all_of(parts,
                             [&](const std::string& part) { return text.find(part) != text.npos; });
}

}  // namespace

Script::Script(std::string_view json, std::string opening) : opening_(std::move(opening)) {
  if (opening_.empty()) throw std::runtime_error("the template does not begin an answer");
  try {
    const boost::json::value script = boost::json::parse(json);
    for (const auto& value : script.at("turns").as_array()) {
      const boost::json::object& turn = value.as_object();
      turns_.push_back(
          {texts(turn, "prompt"), texts(turn, "last"), std::string(turn.at("say").as_string())});
    }
    otherwise_ = script.at("otherwise").as_string();
  } catch (const std::exception& error) {
    throw std::runtime_error(fmt::format("this is no script: {}", error.what()));
  }
}

const std::string& Script::answer_to(std::string_view prompt) const {
  // Messages begin as the answer does, up to the role.
  const std::string_view mark = std::string_view(opening_).substr(0, opening_.find("assistant"));
  const std::size_t begin = prompt.rfind(mark);
  const std::string_view last = begin == prompt.npos ? prompt : prompt.substr(begin);
  for (const Turn& turn : turns_) {
    if (has_all(prompt, turn.prompt) && has_all(last, turn.last)) return turn.say;
  }
  return otherwise_;
}

int Script::next(const Tokenizer& tokenizer, std::span<const int> history) const {
  std::string text;
  for (const int token : history) text += tokenizer.token_bytes(token, true);
  const std::size_t opened = text.rfind(opening_);
  const std::size_t end = opened == text.npos ? text.size() : opened;
  const std::string said = text.substr(std::min(end + opening_.size(), text.size()));
  const std::string& script = answer_to(std::string_view(text).substr(0, end));
  if (!script.starts_with(said)) {
    throw std::runtime_error(
        fmt::format("off the script: \"{}\" is no beginning of \"{}\"", said, script));
  }
  // The script's own tokens up to where the answer stands, or those of what is left where that is
  // within one of them.
  std::size_t at = 0;
  const std::vector<int> tokens = *tokenizer.encode(script, false, true);
  for (const int token : tokens) {
    if (at == said.size()) return token;
    at += tokenizer.token_bytes(token, true).size();
    if (at > said.size()) {
      const auto left = tokenizer.encode(script.substr(said.size()), false, true);
      return left ? left->front() : -1;
    }
  }
  return -1;
}

}  // namespace mlxd::testing
