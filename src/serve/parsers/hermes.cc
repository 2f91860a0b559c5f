// Hermes 2 Pro and later, Qwen 2.5 and 3 (not Coder), Granite 4, SmolLM3 and many others:
//
//   answer: (content | "<tool_call>" call "</tool_call>")*
//   call:   {"name": "f", "arguments": {...}}
//
// The closing mark may be missing, and all marks where the answer begins with a call: Qwen2.5-Coder
// writes that in a fence of code. The same is what a model is asked for whose template knows no
// tools.
#include "serve/parsers/call_grammar.h"
#include "serve/parsers/json_call.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {

Task<> read_hermes(AnswerReader& in) {
  const std::vector<std::string> open = {in.mark("<tool_call>")};
  const std::vector<std::string> close = {in.mark("</tool_call>")};
  co_await bare_json_calls(in);
  while (co_await content_until(in, open) >= 0) {
    if (!co_await json_call(in, close)) {
      refuse_call(in);
      continue;
    }
    const std::size_t before = in.undecided().size();
    co_await accept_space(in);
    if (!co_await accept(in, close[0])) in.go_back_to(before);
    in.skip(AnswerChannel::content);
  }
}

CallForms hermes_calls(CallGrammar& to) {
  const std::string call = json_call_of(to, "arguments");
  CallForms calls;
  calls.forms.push_back({to.mark("<tool_call>"), "(\"\\n\")? " + call + " (\"\\n\")? " +
                                                     CallGrammar::text(to.mark("</tool_call>"))});
  calls.between = "(\"\\n\")?";
  // Bare, and in a fence of code, as bare_json_calls reads them.
  to.any_of([&](const std::string& name) {
    CallForm bare{R"({"name": ")" + name + R"(", "arguments": )",
                  to.arguments(name) + " (\"\\n\")? \"}\"", true};
    const std::string broken = R"("name": ")" + name + "\",\n";
    for (const std::string fence : {"", "```json\n", "```\n", "<tools>\n"}) {
      if (!fence.empty()) bare.spellings.push_back(fence + bare.opener);
      for (const std::string indent : {"  ", "    "}) {
        bare.spellings.push_back(fence + "{\n" + indent + broken + indent + "\"arguments\": ");
      }
    }
    calls.forms.push_back(std::move(bare));
    return std::string();
  });
  return calls;
}

}  // namespace mlxd
