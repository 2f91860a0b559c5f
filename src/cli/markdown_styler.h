#pragma once

#include <string>
#include <string_view>

namespace mlxd {

// Markdown for a terminal, as it is written: headings and strong words bold, emphasis in italics,
// code in colour, their marks left out; all else as it stands. Text may come cut anywhere, and no
// more of it is held back than a mark's length.
class MarkdownStyler {
 public:
  // What can be shown now.
  std::string feed(std::string_view text);
  // The rest, and the terminal's own style again.
  std::string end();

 private:
  void take(char c, std::string& out);
  void at_line_start(char c, std::string& out);
  void within_line(char c, std::string& out);
  void settle(char next, std::string& out);
  void end_line(std::string& out);
  void show_styles(std::string& out) const;

  std::string held_;  // the beginning of a line, or marks, that what follows decides on
  bool line_start_ = true;
  char before_ = '\n';  // the character in front of what is held
  bool fenced_ = false, fence_line_ = false, heading_ = false;
  bool strong_ = false, emphasis_ = false, code_ = false;
};

}  // namespace mlxd
