#pragma once

#include <string>
#include <string_view>

#include "cli/line_source.h"

struct textkit_line_editor;

namespace mlxd {

// Lines that a person types: edited as in a shell, remembered over runs, completed by Tab. A
// backslash at the end of a line lets it go on in the next, and what is pasted stays one message.
class LineEditor final : public LineSource {
 public:
  // `commands`: what is completed at the beginning of a line, one a line; names of files behind one
  // that ends in a space. Throws StartupError if the terminal cannot be used.
  LineEditor(std::string_view commands, bool styled);
  ~LineEditor() override;
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  Got next(std::string& line) override;

 private:
  textkit_line_editor* editor_;
  const bool styled_;
};

}  // namespace mlxd
