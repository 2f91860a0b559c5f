// GLM 4.5 to 5, Ling 3:
//
//   answer:   (content | "<tool_call>" name [LF] argument* "</tool_call>")*
//   argument: "<arg_key>" key "</arg_key>" [LF] "<arg_value>" value "</arg_value>"
#include "serve/parsers/arguments.h"
#include "serve/parsers/call_grammar.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {
namespace {

// `marks` is a reader or a grammar.
template <class Marks>
TaggedArguments arguments_of(const Marks& marks) {
  const std::string value_begin = marks.mark("<arg_value>");
  return {.key_begin = marks.mark("<arg_key>"),
          .key_end = marks.mark("</arg_key>"),
          .value_begins = {{"\n" + value_begin}, {value_begin}},
          .value_ends = {marks.mark("</arg_value>")},
          .call_end = marks.mark("</tool_call>")};
}

}  // namespace

Task<> read_glm(AnswerReader& in) {
  const std::vector<std::string> open = {in.mark("<tool_call>")};
  const TaggedArguments format = arguments_of(in);
  const std::vector<std::string> name_ends = {"\n", format.key_begin, format.call_end};
  while (co_await content_until(in, open) >= 0) {
    co_await accept_space(in);
    const std::size_t begin = in.undecided().size();
    const std::optional<std::string> name = co_await word_until(in, name_ends);
    if (!name || !in.tools().contains(*name)) {
      refuse_call(in);
      continue;
    }
    in.go_back_to(begin + name->size());  // what ends the name begins what follows
    in.begin_call(*name);
    co_await pass_tagged_arguments(in, *name, format);
  }
}

CallForms glm_calls(CallGrammar& to) {
  const TaggedArguments format = arguments_of(to);
  CallForms calls;
  calls.forms.push_back({to.mark("<tool_call>"), to.any_of([&](const std::string& name) {
                           return CallGrammar::text(name) + " " + to.tagged_arguments(name, format);
                         })});
  calls.between = "(\"\\n\")?";
  return calls;
}

}  // namespace mlxd
