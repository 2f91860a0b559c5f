// Mistral, the first form before and the second since Mistral Small 3.2 (tokeniser v11):
//
//   answer: (content | "[TOOL_CALLS]" "[" call ("," call)* "]")*
//   call:   {"name": "f", "arguments": {...}}
//
//   answer: (content | "[TOOL_CALLS]" name ["[CALL_ID]" id] ["[ARGS]"] {...})*
#include "serve/parsers/call_grammar.h"
#include "serve/parsers/json_call.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {

Task<> read_mistral(AnswerReader& in) {
  const std::vector<std::string> open = {in.mark("[TOOL_CALLS]")};
  const std::string call_id = in.mark("[CALL_ID]"), args = in.mark("[ARGS]");
  const std::vector<std::string> name_ends = {call_id, args, "{"}, id_ends = {args};
  while (co_await content_until(in, open) >= 0) {
    if (co_await json_call_list(in, open)) continue;
    const std::size_t begin = in.undecided().size();
    std::optional<std::string> name = co_await word_until(in, name_ends);
    if (!name || !in.tools().contains(*name)) {
      refuse_call(in);
      continue;
    }
    in.go_back_to(begin + name->size());
    if (co_await accept(in, call_id)) {
      (void)co_await word_until(in, id_ends);
    } else {
      co_await accept(in, args);
    }
    in.begin_call(*name);
    co_await pass_arguments_until(in, open);
  }
}

CallForms mistral_calls(CallGrammar& to) {
  CallForms calls;
  const std::string open = to.mark("[TOOL_CALLS]"), args = to.mark("[ARGS]");
  if (args == "[ARGS]") {  // the token came with the second form
    calls.forms.push_back(
        {open, "(\" \")? \"[\" " + to.list(json_call_of(to, "arguments"), "\", \"") + " \"]\""});
    return calls;
  }
  calls.forms.push_back({open, to.any_of([&](const std::string& name) {
                           return CallGrammar::text(name + args) + " " + to.arguments(name);
                         })});
  calls.between = "";
  return calls;
}

}  // namespace mlxd
