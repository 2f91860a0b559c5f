#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

namespace mlxd::api::anthropic {

// A conversation as it grows: messages in the form that ChatPrompt has them in, made of blocks.
// Neighbours of one role, user or assistant, are one turn, as the API says.
class Turns {
 public:
  void say(std::string_view role, std::string_view text);
  void think(std::string_view text);
  // `input` is JSON.
  void call(std::string_view id, std::string_view name, std::string input);
  // False when no call before has that id.
  bool answer(std::string_view id, boost::json::array parts);

  std::size_t size() const { return turns_.size(); }
  // The last turn is an assistant's that ends with a call, or with text.
  bool ends_with_call() const;
  bool ends_with_answer() const;
  boost::json::array take();

 private:
  boost::json::object& turn(std::string_view role);

  boost::json::array turns_;
  std::map<std::string, std::string, std::less<>> calls_;  // names by id
};

boost::json::object text_part(std::string_view text);

}  // namespace mlxd::api::anthropic
