#pragma once

#include <string_view>

#include "serve/parsers/answer_reader.h"

namespace mlxd {

// Between which marks a model family reasons. `word` is text behind the opening mark.
struct ReasoningMarks {
  std::string_view open, word, close;
};

// The block of reasoning with which an answer begins, if it does; `begun`: the prompt ended with
// its opening mark.
Task<> read_reasoning(AnswerReader& in, ReasoningMarks marks, bool begun);

}  // namespace mlxd
