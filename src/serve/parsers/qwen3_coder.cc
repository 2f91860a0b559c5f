// Qwen3-Coder, Qwen 3.5 and later, Nemotron 3, Step 3.5:
//
//   answer:   (content | "<tool_call>" call "</tool_call>" | call)*
//   call:     "<function=" name ">" argument* "</function>"
//   argument: "<parameter=" key ">" [LF] value [LF] "</parameter>"
#include "serve/parsers/arguments.h"
#include "serve/parsers/call_grammar.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {
namespace {

const TaggedArguments kArguments{.key_begin = "<parameter=",
                                 .key_end = ">",
                                 .value_begins = {{"\n"}},
                                 .value_ends = {"\n</parameter>", "</parameter>"},
                                 .call_end = "</function>"};

}  // namespace

Task<> read_qwen3_coder(AnswerReader& in) {
  const std::string open = in.mark("<tool_call>"), close = in.mark("</tool_call>");
  const std::vector<std::string> opens = {open, "<function="};
  const std::vector<std::string> name_ends = {">"};
  for (;;) {
    const int found = co_await content_until(in, opens);
    if (found < 0) co_return;
    bool begins = found == 1;
    if (!begins) {
      co_await accept_space(in);
      begins = co_await accept(in, opens[1]);
    }
    std::optional<std::string> name;
    if (begins) name = co_await word_until(in, name_ends);
    if (!name || !in.tools().contains(*name)) {
      refuse_call(in);
      continue;
    }
    in.begin_call(*name);
    co_await pass_tagged_arguments(in, *name, kArguments);
    const std::size_t before = in.undecided().size();
    co_await accept_space(in);
    if (!co_await accept(in, close)) in.go_back_to(before);
    in.skip(AnswerChannel::content);
  }
}

CallForms qwen3_coder_calls(CallGrammar& to) {
  const std::string call = to.rule(to.any_of([&](const std::string& name) {
    return CallGrammar::text(name + ">") + " " + to.tagged_arguments(name, kArguments);
  }));
  CallForms calls;
  calls.forms.push_back({to.mark("<tool_call>"), "(\"\\n\")? \"<function=\" " + call +
                                                     " (\"\\n\")? " +
                                                     CallGrammar::text(to.mark("</tool_call>"))});
  calls.forms.push_back({"<function=", call});
  calls.between = "(\"\\n\")?";
  return calls;
}

}  // namespace mlxd
