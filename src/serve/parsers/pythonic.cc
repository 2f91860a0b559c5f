// Llama 3.2 and 4, where their templates ask for it:
//
//   answer: content | ["<|python_start|>"] calls ["<|python_end|>"] [content]
//   calls:  "[" name "(" [key "=" literal ("," ...)*] ")" ("," ...)* "]"
//
// LFM 2, where the marks stand anywhere:
//
//   answer: (content | "<|tool_call_start|>" calls "<|tool_call_end|>")*
#include "serve/parsers/python_call.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {

Task<> read_pythonic(AnswerReader& in) {
  const std::string open = in.mark("<|python_start|>"), close = in.mark("<|python_end|>");
  co_await accept_space(in);
  co_await accept(in, open);
  if (!co_await python_calls(in)) {
    in.go_back_to(0);
    co_return;
  }
  co_await accept(in, close);
  in.skip(AnswerChannel::content);
}

Task<> read_lfm2(AnswerReader& in) {
  const std::vector<std::string> open = {in.mark("<|tool_call_start|>")};
  const std::string close = in.mark("<|tool_call_end|>");
  while (co_await content_until(in, open) >= 0) {
    if (!co_await python_calls(in)) {
      refuse_call(in);
      continue;
    }
    co_await accept(in, close);
    in.skip(AnswerChannel::content);
  }
}

}  // namespace mlxd
