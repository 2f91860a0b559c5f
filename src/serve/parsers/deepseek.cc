// DeepSeek R1, V3 and V3.1 (V3.2: minimax.cc). With U+FF5C and U+2581 in the marks:
//
//   answer: (content | "<|tool_calls_begin|>" ("<|tool_call_begin|>" call "<|tool_call_end|>")*
//            "<|tool_calls_end|>")*
//   call:   name "<|tool_sep|>" {...}                                            V3.1
//         | "function<|tool_sep|>" name LF "```json" LF {...} LF "```"           R1, V3
#include "serve/parsers/call_grammar.h"
#include "serve/parsers/json_call.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {

Task<> read_deepseek(AnswerReader& in) {
  const std::string calls_begin = in.mark("<｜tool▁calls▁begin｜>");
  const std::string calls_end = in.mark("<｜tool▁calls▁end｜>");
  const std::string separator = in.mark("<｜tool▁sep｜>");
  const std::vector<std::string> open = {in.mark("<｜tool▁call▁begin｜>")};
  const std::vector<std::string> close = {in.mark("<｜tool▁call▁end｜>")};
  const std::vector<std::string> opens = {calls_begin, open[0]}, name_ends = {separator, "\n"};
  const std::string function = "function" + separator;
  for (;;) {
    const int found = co_await content_until(in, opens);
    if (found < 0) co_return;
    if (found == 0) {
      co_await accept_space(in);
      if (!co_await accept(in, open[0])) {
        refuse_call(in);
        continue;
      }
    }
    co_await accept(in, function);
    const std::optional<std::string> name = co_await word_until(in, name_ends);
    co_await accept(in, "```json\n");
    if (!name || !in.tools().contains(*name) || co_await in.peek() != '{') {
      refuse_call(in);
      continue;
    }
    in.begin_call(*name);
    co_await pass_arguments_until(in, close);
    co_await accept(in, "\n```");
    co_await accept(in, close[0]);
    co_await accept(in, calls_end);
    in.skip(AnswerChannel::content);
  }
}

CallForms deepseek_calls(CallGrammar& to) {
  const std::string separator = to.mark("<｜tool▁sep｜>");
  const std::string call = to.any_of([&](const std::string& name) {
    const std::string arguments = " " + to.arguments(name);
    return CallGrammar::text(name + separator) + arguments + " | " +
           CallGrammar::text("function" + separator + name + "\n```json\n") + arguments +
           " \"\\n```\"";
  });
  const std::string marked = CallGrammar::text(to.mark("<｜tool▁call▁begin｜>")) + " " + call +
                             " " + CallGrammar::text(to.mark("<｜tool▁call▁end｜>"));
  CallForms calls;
  calls.forms.push_back(
      {to.mark("<｜tool▁calls▁begin｜>"), to.list(to.rule(marked), "(\"\\n\")?") + " " +
                                              CallGrammar::text(to.mark("<｜tool▁calls▁end｜>"))});
  return calls;
}

}  // namespace mlxd
