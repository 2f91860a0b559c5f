#pragma once

#include <csignal>
#include <string>
#include <utility>

#include "cli/line_source.h"

namespace mlxd {

// Ctrl-C as something that a command can ask for, instead of the end of the program. Within the
// life of one there may be another, which has them for as long as it lives.
class Interrupts {
 public:
  explicit Interrupts(bool caught);  // false: it ends the program as ever, and none comes
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  bool take();  // whether one has come since this was asked last
  // Readable while one has come and was not taken.
  int descriptor() const { return pipe_[0]; }

 private:
  const bool caught_;
  int pipe_[2] = {-1, -1};
  int outer_pipe_ = -1;
  struct sigaction outer_action_ {};
};

// Lines of a descriptor, waited for beside interrupts. What was read of a line before an interrupt
// is dropped, as the terminal has dropped what was typed.
class LineReader final : public LineSource {
 public:
  // `prompt` is written to standard output before each line.
  LineReader(int descriptor, Interrupts& interrupts, std::string prompt = "")
      : descriptor_(descriptor), interrupts_(interrupts), prompt_(std::move(prompt)) {}

  Got next(std::string& line) override;

 private:
  const int descriptor_;
  Interrupts& interrupts_;
  const std::string prompt_;
  std::string unread_;
  bool ended_ = false;
};

}  // namespace mlxd
