// Reasoning in a block of its own, before the answer:
//
//   answer:  [space] OPEN [LF] reasoning [LF] CLOSE [LF [LF]] rest
//
// OPEN may stand at the end of the prompt, where the template writes it. Anywhere else it is
// content. The line breaks are the template's: it writes them again around the same words.
#include "serve/parsers/reasoning.h"

namespace mlxd {

Task<> read_reasoning(AnswerReader& in, ReasoningMarks marks, bool begun) {
  if (!begun) {
    co_await accept_space(in);
    const std::string open = in.mark(marks.open) + std::string(marks.word);
    if (!co_await accept(in, open)) {
      in.go_back_to(0);
      co_return;
    }
  }
  co_await accept(in, "\n");
  in.skip(AnswerChannel::reasoning);
  const std::string close = in.mark(marks.close);
  const std::vector<std::string> ends = {"\n" + close, close};
  if (co_await pass_until(in, AnswerChannel::reasoning, ends) < 0) co_return;
  in.skip(AnswerChannel::reasoning);
  if (co_await accept(in, "\n")) co_await accept(in, "\n");
  in.skip(AnswerChannel::content);
}

}  // namespace mlxd
