#include "api/responses/conversation.h"

#include <utility>

#include <boost/json/value.hpp>

namespace mlxd::api::responses {
namespace {

namespace json = boost::json;

void append_paragraph(std::string& text, std::string_view more) {
  if (!text.empty() && !more.empty()) text += "\n\n";
  text += more;
}

}  // namespace

void Conversation::add_system(std::string_view role, std::string_view text) {
  end_turn();
  if (!at_beginning_ || messages_.empty()) {
    messages_.push_back({{"role", role}, {"content", text}});
    return;
  }
  json::string& content = messages_.front().get_object().at("content").get_string();
  content += "\n\n";
  content += text;
}

void Conversation::add_user(json::value content) {
  end_turn();
  at_beginning_ = false;
  messages_.push_back({{"role", "user"}, {"content", std::move(content)}});
}

void Conversation::add_output(std::string_view call_id, json::value content) {
  end_turn();
  at_beginning_ = false;
  messages_.push_back(
      {{"role", "tool"}, {"tool_call_id", call_id}, {"content", std::move(content)}});
}

void Conversation::add_text(std::string_view text) {
  Turn& said = turn();
  if (!said.text) said.text.emplace();
  append_paragraph(*said.text, text);
}

void Conversation::add_reasoning(std::string_view text) {
  append_paragraph(turn().reasoning, text);
}

void Conversation::add_call(std::string_view id, std::string_view name,
                            std::string_view arguments) {
  turn().calls.push_back(
      {{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}});
}

json::array Conversation::take() {
  end_turn();
  if (at_beginning_) add_user("");
  return std::move(messages_);
}

Conversation::Turn& Conversation::turn() {
  at_beginning_ = false;
  if (!turn_) turn_.emplace();
  return *turn_;
}

void Conversation::end_turn() {
  if (!turn_) return;
  Turn ended = *std::exchange(turn_, std::nullopt);
  json::object message{{"role", "assistant"}};
  if (ended.text) {
    message["content"] = *ended.text;
  } else if (ended.calls.empty()) {
    message["content"] = "";
  } else {
    message["content"] = nullptr;
  }
  if (!ended.reasoning.empty()) message["reasoning_content"] = ended.reasoning;
  if (!ended.calls.empty()) message["tool_calls"] = std::move(ended.calls);
  messages_.push_back(std::move(message));
}

}  // namespace mlxd::api::responses
