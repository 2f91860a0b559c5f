#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

namespace mlxd::api::responses {

// The items of a conversation, put together to the turns that chat templates know: what an
// assistant thought, said and called between two other turns is one message with
// `reasoning_content`, `content` and `tool_calls`. System and developer messages at the beginning
// are one, as most templates take no second.
class Conversation {
 public:
  // `content` is a string, or an array of text parts as OpenAI's chat has them.
  void add_system(std::string_view role, std::string_view text);  // system or developer
  void add_user(boost::json::value content);
  void add_output(std::string_view call_id, boost::json::value content);  // of a tool

  // Of the assistant's turn.
  void add_text(std::string_view text);
  void add_reasoning(std::string_view text);
  void add_call(std::string_view id, std::string_view name, std::string_view arguments);

  // The messages, with an empty one of the user where nobody has said anything. Once.
  boost::json::array take();

 private:
  struct Turn {
    std::optional<std::string> text;
    std::string reasoning;
    boost::json::array calls;
  };
  Turn& turn();
  void end_turn();

  boost::json::array messages_;
  std::optional<Turn> turn_;  // the assistant's, while it goes on
  bool at_beginning_ = true;  // nothing but system and developer messages so far
};

}  // namespace mlxd::api::responses
