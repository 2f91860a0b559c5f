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

}  // namespace

Task<> read_minimax(AnswerReader& in) {
  const std::vector<std::string> open = {in.mark("<minimax:tool_call>")};
  const std::vector<std::string> close = {in.mark("</minimax:tool_call>")};
  const TaggedArguments format{.key_begin = "<parameter name=\"",
                               .key_end = "\">",
                               .value_begins = {},
                               .value_ends = {"</parameter>"},
                               .call_end = "</invoke>"};
  co_await read_invocations(in, open, close, "<invoke name=\"", format);
}

Task<> read_deepseek_v32(AnswerReader& in) {
  const std::string word = in.mark("｜DSML｜");
  const std::string begin = "<" + word, end = "</" + word;
  const std::vector<std::string> open = {begin + "function_calls>", begin + "tool_calls>"};
  const std::vector<std::string> close = {end + "function_calls>", end + "tool_calls>"};
  const TaggedArguments format{
      .key_begin = begin + "parameter name=\"",
      .key_end = "\"",
      .value_begins = {{" string=\"true\">", kJsonString}, {" string=\"false\">", kAnyJson}, {">"}},
      .value_ends = {end + "parameter>"},
      .call_end = end + "invoke>"};
  co_await read_invocations(in, open, close, begin + "invoke name=\"", format);
}

}  // namespace mlxd
