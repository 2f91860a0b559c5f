// Kimi K2:
//
//   answer: (content | "<|tool_calls_section_begin|>" call* "<|tool_calls_section_end|>")*
//   call:   "<|tool_call_begin|>" "functions." name ":" number "<|tool_call_argument_begin|>" {...}
//           "<|tool_call_end|>"
#include <algorithm>

#include "serve/parsers/call_grammar.h"
#include "serve/parsers/json_call.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {

Task<> read_kimi(AnswerReader& in) {
  const std::string section_end = in.mark("<|tool_calls_section_end|>");
  const std::vector<std::string> opens = {in.mark("<|tool_calls_section_begin|>"),
                                          in.mark("<|tool_call_begin|>")};
  const std::vector<std::string> id_ends = {in.mark("<|tool_call_argument_begin|>")};
  const std::vector<std::string> close = {in.mark("<|tool_call_end|>")};
  for (;;) {
    const int found = co_await content_until(in, opens);
    if (found < 0) co_return;
    bool begins = found == 1;
    if (!begins) {
      co_await accept_space(in);
      begins = co_await accept(in, opens[1]);
    }
    co_await accept_space(in);
    co_await accept(in, "functions.");
    std::optional<std::string> name;
    if (begins) name = co_await word_until(in, id_ends);
    if (name) name->resize(std::min(name->rfind(':'), name->size()));
    co_await accept_space(in);
    if (!name || !in.tools().contains(*name) || co_await in.peek() != '{') {
      refuse_call(in);
      continue;
    }
    in.begin_call(*name);
    co_await pass_arguments_until(in, close);
    co_await accept_space(in);
    co_await accept(in, close[0]);
    co_await accept_space(in);
    co_await accept(in, section_end);
    in.skip(AnswerChannel::content);
  }
}

CallForms kimi_calls(CallGrammar& to) {
  const std::string call = to.any_of([&](const std::string& name) {
    return CallGrammar::text(to.mark("<|tool_call_begin|>") + "functions." + name + ":") +
           " /[0-9]{1,3}/ " + CallGrammar::text(to.mark("<|tool_call_argument_begin|>")) + " " +
           to.arguments(name) + " " + CallGrammar::text(to.mark("<|tool_call_end|>"));
  });
  CallForms calls;
  calls.forms.push_back(
      {to.mark("<|tool_calls_section_begin|>"),
       to.list(call, "") + " " + CallGrammar::text(to.mark("<|tool_calls_section_end|>"))});
  return calls;
}

}  // namespace mlxd
