#pragma once

#include <string>
#include <string_view>

namespace mlxd::api::responses {

// The text of a custom tool's call, out of the arguments {"input": "text"} that the model writes,
// as they come. Arguments that turn out to be of another form are the text as they are.
class FreeformInput {
 public:
  // More of the arguments; returns what they add to the text.
  std::string add(std::string_view arguments);
  // After the last; returns what is still to be added.
  std::string end();

 private:
  enum class State { before, text, escape, digits, after };

  void read(char c, std::string& added);
  void read_escape(char c, std::string& added);
  void add_code_unit(unsigned unit, std::string& added);

  State state_ = State::before;
  std::string arguments_;  // as long as no text has been found
  std::string code_;       // hex digits of an escape
  unsigned high_ = 0;      // the first half of a surrogate pair
};

}  // namespace mlxd::api::responses
