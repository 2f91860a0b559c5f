// Granite 3:
//
//   answer: (content | ("<|tool_call|>" | "<tool_call>") "[" call ("," call)* "]")*
//   call:   {"name": "f", "arguments": {...}}
#include "serve/parsers/call_grammar.h"
#include "serve/parsers/json_call.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {

Task<> read_granite(AnswerReader& in) {
  const std::vector<std::string> open = {in.mark("<|tool_call|>"), in.mark("<tool_call>")};
  while (co_await content_until(in, open) >= 0) {
    if (!co_await json_call_list(in, open)) refuse_call(in);
  }
}

CallForms granite_calls(CallGrammar& to) {
  const std::string call = json_call_of(to, "arguments");
  CallForms calls;
  calls.forms.push_back(
      {to.mark("<|tool_call|>"), "(\" \")? \"[\" " + to.list(call, "\", \"") + " \"]\""});
  return calls;
}

}  // namespace mlxd
