#include "api/anthropic/turns.h"

#include <utility>

#include <boost/json/value.hpp>

namespace mlxd::api::anthropic {
namespace {

namespace json = boost::json;

// One part is a text to every template; none is nothing beside calls.
void settle(json::object& turn) {
  json::array& parts = turn["content"].as_array();
  if (parts.size() > 1) return;
  json::value content = nullptr;
  if (parts.size() == 1) {
    content = parts[0].as_object()["text"];
  } else if (!turn.contains("tool_calls")) {
    content = "";
  }
  turn["content"] = std::move(content);
}

}  // namespace

json::object text_part(std::string_view text) { return {{"type", "text"}, {"text", text}}; }

json::object& Turns::turn(std::string_view role) {
  const bool joins = role == "user" || role == "assistant";
  if (!joins || turns_.empty() || turns_.back().as_object()["role"] != json::string_view(role)) {
    turns_.push_back({{"role", role}, {"content", json::array()}});
  }
  return turns_.back().as_object();
}

void Turns::say(std::string_view role, std::string_view text) {
  turn(role)["content"].as_array().push_back(text_part(text));
}

void Turns::think(std::string_view text) {
  json::value& reasoning = turn("assistant")["reasoning_content"];
  if (!reasoning.is_string()) reasoning.emplace_string();
  json::string& so_far = reasoning.get_string();
  if (!so_far.empty()) so_far += '\n';
  so_far += text;
}

void Turns::call(std::string_view id, std::string_view name, std::string input) {
  json::value& calls = turn("assistant")["tool_calls"];
  if (!calls.is_array()) calls.emplace_array();
  calls.get_array().push_back({{"id", id},
                               {"type", "function"},
                               {"function", {{"name", name}, {"arguments", std::move(input)}}}});
  calls_.insert_or_assign(std::string(id), std::string(name));
}

bool Turns::answer(std::string_view id, json::array parts) {
  const auto called = calls_.find(id);
  if (called == calls_.end()) return false;
  json::object& result = turn("tool");
  result["tool_call_id"] = id;
  result["name"] = called->second;
  result["content"] = std::move(parts);
  return true;
}

bool Turns::ends_with_call() const {
  return !turns_.empty() && turns_.back().as_object().contains("tool_calls");
}

bool Turns::ends_with_answer() const {
  if (turns_.empty()) return false;
  const json::object& last = turns_.back().as_object();
  return last.at("role") == "assistant" && !last.at("content").as_array().empty();
}

json::array Turns::take() {
  for (json::value& turn : turns_) settle(turn.as_object());
  return std::move(turns_);
}

}  // namespace mlxd::api::anthropic
