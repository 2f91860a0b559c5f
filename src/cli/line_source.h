#pragma once

#include <string>

namespace mlxd {

// Where the lines of a conversation come from: a terminal with an editor, or any descriptor.
class LineSource {
 public:
  virtual ~LineSource() = default;

  enum class Got { line, interrupt, end };
  // Waits for the next line, without its end. Asks for it where a person types.
  virtual Got next(std::string& line) = 0;
};

}  // namespace mlxd
