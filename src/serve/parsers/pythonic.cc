// Llama 3.2 and 4, where their templates ask for it:
//
//   answer: content | ["<|python_start|>"] calls ["<|python_end|>"] [content]
//   calls:  "[" name "(" [key "=" literal ("," ...)*] ")" ("," ...)* "]"
//
// LFM 2, where the marks stand anywhere:
//
//   answer: (content | "<|tool_call_start|>" calls "<|tool_call_end|>")*
#include "serve/parsers/call_grammar.h"
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

// The first call's head is in the opener where there is no mark: an answer may begin with a
// bracket.
CallForms pythonic_calls(CallGrammar& to) {
  CallForms calls;
  const std::string open = to.mark("<|python_start|>"), close = to.mark("<|python_end|>");
  calls.forced = python_calls_of(to);
  calls.forms.push_back({open, calls.forced + " " + CallGrammar::text(close)});
  const std::string more = to.rule("(\", \" " + python_call_of(to) + ")*");
  to.any_of([&](const std::string& name) {
    calls.forms.push_back(
        {"[" + name + "(", python_arguments_of(to, name) + " \")\" " + more + " \"]\"", true});
    return std::string();
  });
  return calls;
}

CallForms lfm2_calls(CallGrammar& to) {
  CallForms calls;
  calls.forms.push_back(
      {to.mark("<|tool_call_start|>"),
       python_calls_of(to) + " " + CallGrammar::text(to.mark("<|tool_call_end|>"))});
  return calls;
}

}  // namespace mlxd
