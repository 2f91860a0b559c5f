// MiniMax M2:
//
//   answer:   (content | "<minimax:tool_call>" call* "</minimax:tool_call>")*
//   call:     "<invoke name=" quote name quote ">" argument* "</invoke>"
//   argument: "<parameter name=" quote key quote ">" value "</parameter>"
//
// DeepSeek V3.2 writes the same with another word before each tag, and says of each value whether
// it is a string:
//
//   answer:   (content | "<|DSML|function_calls>" call* "</|DSML|function_calls>")*
//   call:     "<|DSML|invoke name=" quote name quote ">" argument* "</|DSML|invoke>"
//   argument: "<|DSML|parameter name=" quote key quote " string=" quote ("true" | "false") quote
//   ">"
//             value "</|DSML|parameter>"
//
// with U+FF5C in place of "|", and "tool_calls" for "function_calls" since V4.
#include "serve/parsers/arguments.h"
#include "serve/parsers/call_grammar.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {
namespace {

Task<> read_invocations(AnswerReader& in, std::vector<std::string> opens,
                        std::vector<std::string> closes, std::string invoke,
                        TaggedArguments format) {
  const std::vector<std::string> name_ends = {"\">"};
  while (co_await content_until(in, opens) >= 0) {
    for (bool first = true;; first = false) {
      const std::size_t before = in.undecided().size();
      co_await accept_space(in);
      std::optional<std::string> name;
      if (co_await accept(in, invoke)) name = co_await word_until(in, name_ends);
      if (!name || !in.tools().contains(*name)) {
        in.go_back_to(before);
        if (first) refuse_call(in);
        break;
      }
      in.begin_call(*name);
      co_await pass_tagged_arguments(in, *name, format);
    }
    const std::size_t before = in.undecided().size();
    co_await accept_space(in);
    bool closed = false;
    for (std::size_t i = 0; i < closes.size() && !closed; ++i) {
      closed = co_await accept(in, closes[i]);
    }
    if (!closed) in.go_back_to(before);
    in.skip(AnswerChannel::content);
  }
}

// Calls up to `close`, each on a line of its own.
std::string invocations(CallGrammar& to, const std::string& invoke, const TaggedArguments& format,
                        const std::string& close) {
  const std::string call = to.rule(to.any_of([&](const std::string& name) {
    return CallGrammar::text(invoke + name + "\">") + " " + to.tagged_arguments(name, format);
  }));
  return "(\"\\n\")? " + to.list(call, "(\"\\n\")?") + " (\"\\n\")? " + CallGrammar::text(close);
}

const TaggedArguments kMinimax{.key_begin = "<parameter name=\"",
                               .key_end = "\">",
                               .value_begins = {},
                               .value_ends = {"</parameter>"},
                               .call_end = "</invoke>"};

TaggedArguments deepseek_arguments(const std::string& begin, const std::string& end) {
  return {
      .key_begin = begin + "parameter name=\"",
      .key_end = "\"",
      .value_begins = {{" string=\"true\">", kJsonString}, {" string=\"false\">", kAnyJson}, {">"}},
      .value_ends = {end + "parameter>"},
      .call_end = end + "invoke>"};
}

}  // namespace

Task<> read_minimax(AnswerReader& in) {
  const std::vector<std::string> open = {in.mark("<minimax:tool_call>")};
  const std::vector<std::string> close = {in.mark("</minimax:tool_call>")};
  co_await read_invocations(in, open, close, "<invoke name=\"", kMinimax);
}

CallForms minimax_calls(CallGrammar& to) {
  CallForms calls;
  calls.forms.push_back(
      {to.mark("<minimax:tool_call>"),
       invocations(to, "<invoke name=\"", kMinimax, to.mark("</minimax:tool_call>"))});
  return calls;
}

Task<> read_deepseek_v32(AnswerReader& in) {
  const std::string word = in.mark("｜DSML｜");
  const std::string begin = "<" + word, end = "</" + word;
  const std::vector<std::string> open = {begin + "function_calls>", begin + "tool_calls>"};
  const std::vector<std::string> close = {end + "function_calls>", end + "tool_calls>"};
  co_await read_invocations(in, open, close, begin + "invoke name=\"",
                            deepseek_arguments(begin, end));
}

CallForms deepseek_v32_calls(CallGrammar& to) {
  const std::string word = to.mark("｜DSML｜");
  const std::string begin = "<" + word, end = "</" + word;
  const TaggedArguments format = deepseek_arguments(begin, end);
  CallForms calls;
  for (const std::string_view name : {"function_calls>", "tool_calls>"}) {
    calls.forms.push_back(
        {begin + std::string(name),
         invocations(to, begin + "invoke name=\"", format, end + std::string(name))});
  }
  return calls;
}

}  // namespace mlxd
