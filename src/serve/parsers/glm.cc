// GLM 4.5 to 5, Ling 3:
//
//   answer:   (content | "<tool_call>" name [LF] argument* "</tool_call>")*
//   argument: "<arg_key>" key "</arg_key>" [LF] "<arg_value>" value "</arg_value>"
#include "serve/parsers/arguments.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {

Task<> read_glm(AnswerReader& in) {
  const std::vector<std::string> open = {in.mark("<tool_call>")};
  const std::string close = in.mark("</tool_call>");
  const std::string key_begin = in.mark("<arg_key>"), value_begin = in.mark("<arg_value>");
  const std::vector<std::string> name_ends = {"\n", key_begin, close};
  const TaggedArguments format{.key_begin = key_begin,
                               .key_end = in.mark("</arg_key>"),
                               .value_begins = {{"\n" + value_begin}, {value_begin}},
                               .value_ends = {in.mark("</arg_value>")},
                               .call_end = close};
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

}  // namespace mlxd
