#include "cli/line_editor.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "base/error.h"
#include "text/textkit_string.h"

namespace mlxd {
namespace {

constexpr std::string_view kPrompt = "> ", kStyledPrompt = "\x1b[1m> \x1b[0m";

// As the XDG base directory specification has it; "" where there is no home.
std::string history_file() {
  const auto folder = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  std::filesystem::path state = folder("XDG_STATE_HOME");
  if (state.empty() && !folder("HOME").empty()) state = folder("HOME") / ".local/state";
  return state.empty() ? "" : (state / "mlxd" / "history").string();
}

}  // namespace

LineEditor::LineEditor(std::string_view commands, bool styled) : styled_(styled) {
  TextkitText error;
  editor_ = textkit_line_editor_new(view_of(history_file()), view_of(commands), error.out());
  if (editor_ == nullptr) {
    throw StartupError(fmt::format("this terminal cannot be used: {}", error.str()));
  }
}

LineEditor::~LineEditor() { textkit_line_editor_free(editor_); }

LineSource::Got LineEditor::next(std::string& line) {
  std::fputs("\n", stdout);
  std::fflush(stdout);
  TextkitText typed, error;
  switch (textkit_line_editor_read(editor_, view_of(kPrompt),
                                   view_of(styled_ ? kStyledPrompt : kPrompt), typed.out(),
                                   error.out())) {
    case TEXTKIT_LINE:
      line = typed.str();
      return Got::line;
    case TEXTKIT_INTERRUPTED:
      return Got::interrupt;
    case TEXTKIT_END:
    case TEXTKIT_READ_FAULT:  // the terminal has gone
      return Got::end;
  }
  return Got::end;
}

}  // namespace mlxd
