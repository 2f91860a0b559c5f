#pragma once

#include <stdexcept>
#include <string>

#include "cli/line_reader.h"
#include "serve/text_model.h"

namespace mlxd {

// A turn that failed (a context that is full, say): the conversation goes on without it.
struct TurnFailed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct ChatAnswer {
  std::string text;  // without reasoning
  int tokens = 0;
  double first_token_seconds = 0, seconds = 0;
  bool stopped = false;  // by Ctrl-C
};

// Streams one answer to standard output, and reasoning to standard error; `styled`: for a terminal,
// with Markdown rendered and reasoning dimmed. Throws TurnFailed with the request's own error text.
ChatAnswer stream_answer(TextModel& model, GenerateRequest request, Interrupts& interrupts,
                         bool styled);

}  // namespace mlxd
