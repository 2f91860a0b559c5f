// Llama 3.1 to 3.3:
//
//   answer: content | ["<|python_tag|>"] call (";" call)* [content]
//   call:   {"name": "f", "parameters": {...}} | "<function=" name ">" {...} "</function>"
#include "serve/parsers/json_call.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {

Task<> read_llama3(AnswerReader& in) {
  co_await accept_space(in);
  const std::string tag = in.mark("<|python_tag|>");
  co_await accept(in, tag);
  const std::vector<std::string> name_ends = {">"}, close = {"</function>"};
  if (co_await accept(in, "<function=")) {
    const std::optional<std::string> name = co_await word_until(in, name_ends);
    if (name && in.tools().contains(*name)) {
      in.begin_call(*name);
      co_await pass_arguments_until(in, close);
      co_await accept(in, close[0]);
      in.skip(AnswerChannel::content);
      co_return;
    }
    in.go_back_to(0);
  }
  co_await bare_json_calls(in);
}

}  // namespace mlxd
