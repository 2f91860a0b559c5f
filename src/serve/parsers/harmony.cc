// gpt-oss ("harmony"). An answer is messages; the prompt has begun the first.
//
//   answer:  message*
//   message: ["<|start|>" role] [" to=" recipient] ["<|channel|>" channel [" to=" recipient]]
//            ["<|constrain|>" type] "<|message|>" text ("<|end|>" | "<|call|>" | "<|return|>")
//
// Channel "analysis" is reasoning, "final" and "commentary" are content; a recipient
// "functions.f" makes the text the arguments of a call of f.
#include "serve/parsers/call_grammar.h"
#include "serve/parsers/json_call.h"
#include "serve/parsers/tool_formats.h"

namespace mlxd {
namespace {

// The word behind `key` in a header, up to a space or a token.
std::string_view word_behind(std::string_view header, std::string_view key) {
  const std::size_t at = header.find(key);
  if (at == std::string_view::npos) return {};
  const std::string_view behind = header.substr(at + key.size());
  return behind.substr(0, behind.find_first_of(" \n<\xFF"));
}

}  // namespace

Task<> read_harmony(AnswerReader& in) {
  const std::string channel_mark = in.mark("<|channel|>");
  const std::vector<std::string> message = {in.mark("<|message|>")};
  const std::vector<std::string> ends = {in.mark("<|end|>"), in.mark("<|call|>"),
                                         in.mark("<|return|>"), in.mark("<|start|>")};
  constexpr std::string_view kFunctions = "functions.";
  const std::vector<std::string> begins = {in.mark("<|start|>"), channel_mark, message[0], " to="};
  while (co_await in.peek() != AnswerReader::kEnd) {
    bool has_header = false;
    for (std::size_t i = 0; i < begins.size() && !has_header; ++i) {
      has_header = co_await accept(in, begins[i]);
    }
    in.go_back_to(0);
    std::optional<std::string> header;
    if (has_header) header = co_await head_until(in, message);
    if (!header) {  // no message: as it is
      co_await pass_until(in, AnswerChannel::content, ends);
      in.skip(AnswerChannel::content);
      continue;
    }
    const std::string_view recipient = word_behind(*header, "to=");
    const std::string_view name = recipient.starts_with(kFunctions)
                                      ? recipient.substr(kFunctions.size())
                                      : std::string_view();
    if (in.tools().contains(name)) {
      in.begin_call(name);
      co_await accept_space(in);
      co_await pass_arguments_until(in, ends);
      co_await accept_space(in);
      for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
        if (co_await accept(in, ends[i])) break;
      }
      in.skip(AnswerChannel::content);
      continue;
    }
    const bool reasons = word_behind(*header, channel_mark) == "analysis" && recipient.empty();
    const AnswerChannel channel = reasons ? AnswerChannel::reasoning : AnswerChannel::content;
    in.skip(channel);
    co_await pass_until(in, channel, ends);
    in.skip(channel);
  }
}

// A call is the last message of its answer, which the token behind it ends. The prompt has begun
// the message with its role; forced, there may be one of reasoning before it.
CallForms harmony_calls(CallGrammar& to) {
  const std::string channel = to.mark("<|channel|>"), message = to.mark("<|message|>");
  const std::string type = CallGrammar::text(" " + to.mark("<|constrain|>") + "json");
  const std::string header = " (" + CallGrammar::text(channel + "commentary") + ")? (" + type +
                             " | \" json\")? " + CallGrammar::text(message) + " ";
  const std::string call = to.any_of([&](const std::string& name) {
    return CallGrammar::text(name) + header + to.arguments(name);
  });
  CallForms calls;
  calls.forms.push_back({" to=functions.", call});
  const std::string thinks = CallGrammar::text(channel + "analysis" + message) + " " +
                             to.text_until(to.mark("<|end|>")) + " " +
                             CallGrammar::text(to.mark("<|start|>") + "assistant");
  calls.forced = "(" + thinks + ")? (" + CallGrammar::text(channel + "commentary") +
                 ")? \" to=functions.\" " + call;
  return calls;
}

}  // namespace mlxd
