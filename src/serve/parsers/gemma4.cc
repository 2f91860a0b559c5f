// Gemma 4:
//
//   answer: (content | "<|tool_call>" "call:" name "{" [key ":" value ("," ...)*] "}"
//            "<tool_call|>")*
//   value:  quote text quote | "{" (key ":" value)* "}" | "[" value* "]" | number | true | ...
//   key:    text | quote text quote
//   quote:  a token of its own
#include "serve/parsers/arguments.h"
#include "serve/parsers/call_grammar.h"
#include "serve/parsers/gemma4_values.h"
#include "serve/parsers/json_scanner.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {
namespace {

constexpr int kMostNested = 64;

struct Marks {
  std::vector<std::string> quote;
  std::vector<std::string> key_ends = {":"};
};

Task<bool> value(AnswerReader& in, const Marks& marks, int depth);

// A key and ":".
Task<std::optional<std::string>> key(AnswerReader& in, const Marks& marks) {
  std::optional<std::string> word;
  if (co_await accept(in, marks.quote[0])) {
    word = co_await word_until(in, marks.quote);
    if (word && !co_await accept(in, ":")) co_return std::nullopt;
  } else {
    word = co_await word_until(in, marks.key_ends);
  }
  co_return word;
}

// What stands between brackets, the first of which is behind the cursor.
Task<bool> values(AnswerReader& in, const Marks& marks, char open, int depth) {
  const std::string close(1, open == '{' ? '}' : ']');
  in.put_arguments(std::string(1, open));
  for (bool first = true;; first = false) {
    co_await accept_space(in);
    if (co_await accept(in, close)) {
      in.put_arguments(close);
      co_return true;
    }
    if (!first) {
      if (!co_await accept(in, ",")) co_return false;
      in.put_arguments(", ");
      co_await accept_space(in);
    }
    if (open == '{') {
      const std::optional<std::string> name = co_await key(in, marks);
      if (!name) co_return false;
      in.put_arguments(json_string(*name) + ": ");
    }
    if (!co_await value(in, marks, depth + 1)) co_return false;
  }
}

Task<bool> value(AnswerReader& in, const Marks& marks, int depth) {
  if (depth > kMostNested) co_return false;
  co_await accept_space(in);
  if (co_await accept(in, marks.quote[0])) {
    in.put_arguments("\"");
    if (co_await pass_string_until(in, marks.quote) < 0) co_return false;
    in.put_arguments("\"");
    co_return true;
  }
  const int byte = co_await in.peek();
  if (byte == '{' || byte == '[') {
    in.advance();
    co_return co_await values(in, marks, static_cast<char>(byte), depth);
  }
  in.put_arguments({});
  for (;;) {
    const int next = co_await in.peek();
    if (next == AnswerReader::kEnd) co_return false;
    if (next == ',' || next == '}' || next == ']' || next >= 0xFE) break;
    in.advance();
  }
  const std::string text = in.undecided_text();
  in.put_arguments(text.empty() ? "null" : typed_json(text, kAnyJson));
  co_return true;
}

// Behind the call's "{", up to its "}".
Task<bool> arguments_of(AnswerReader& in, const Marks& marks, std::string_view tool) {
  Arguments arguments(in, tool);
  for (bool first = true;; first = false) {
    co_await accept_space(in);
    if (co_await accept(in, "}")) {
      arguments.end();
      co_return true;
    }
    if (!first) {
      if (!co_await accept(in, ",")) co_return false;
      co_await accept_space(in);
    }
    const std::optional<std::string> name = co_await key(in, marks);
    if (!name || !arguments.begin(*name)) co_return false;
    if (!co_await value(in, marks, 0)) co_return false;
  }
}

}  // namespace

Task<> read_gemma4(AnswerReader& in) {
  const std::vector<std::string> open = {in.mark("<|tool_call>")};
  const std::vector<std::string> close = {in.mark("<tool_call|>")}, name_ends = {"{"};
  const Marks marks{.quote = {in.mark("<|\"|>")}};
  while (co_await content_until(in, open) >= 0) {
    std::optional<std::string> name;
    if (co_await accept(in, "call:")) name = co_await word_until(in, name_ends);
    if (!name || !in.tools().contains(*name)) {
      refuse_call(in);
      continue;
    }
    in.begin_call(*name);
    co_await arguments_of(in, marks, *name);
    co_await accept_space(in);
    co_await accept(in, close[0]);
    in.skip(AnswerChannel::content);
  }
}

CallForms gemma4_calls(CallGrammar& to) {
  const std::string quote = to.mark("<|\"|>");
  Gemma4Values::define_any(to, quote);
  CallForms calls;
  calls.forms.push_back({to.mark("<|tool_call>"), to.any_of([&](const std::string& name) {
                           Gemma4Values values(to, name, quote);
                           return CallGrammar::text("call:" + name + "{") + " " +
                                  to.each_argument(
                                      name, "\",\"",
                                      [&](const ToolParameter& parameter) {
                                        return CallGrammar::text(parameter.name + ":") + " " +
                                               values.at(CallGrammar::pointer_to(parameter.name));
                                      }) +
                                  " " + CallGrammar::text("}" + to.mark("<tool_call|>"));
                         })});
  calls.between = "";
  return calls;
}

}  // namespace mlxd
