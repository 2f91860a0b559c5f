// Llama 3.1 to 3.3:
//
//   answer: content | ["<|python_tag|>"] call (";" call)* [content]
//   call:   {"name": "f", "parameters": {...}} | "<function=" name ">" {...} "</function>"
#include "serve/parsers/call_grammar.h"
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

CallForms llama3_calls(CallGrammar& to) {
  CallForms calls;
  calls.forced = json_call_of(to, "parameters");
  calls.forms.push_back({to.mark("<|python_tag|>"), calls.forced});
  calls.between = "\"; \"";
  to.any_of([&](const std::string& name) {
    calls.forms.push_back(
        {R"({"name": ")" + name + R"(", "parameters": )", to.arguments(name) + " \"}\"", true});
    return std::string();
  });
  return calls;
}

}  // namespace mlxd
