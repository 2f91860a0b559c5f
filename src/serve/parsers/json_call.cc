#include "serve/parsers/json_call.h"

#include <optional>

#include <fmt/format.h>

#include "serve/parsers/json_scanner.h"

namespace mlxd {
namespace {

constexpr std::size_t kLongestWord = 256;  // of a key, a name, an id
constexpr int kMostWords = 4;              // keys before the name

// A string without escapes, its quotation marks around it.
Task<std::optional<std::string>> short_string(AnswerReader& in) {
  if (!co_await accept(in, "\"")) co_return std::nullopt;
  std::string text;
  while (text.size() < kLongestWord) {
    const int byte = co_await in.peek();
    if (byte == '\\' || byte < 0x20 || byte >= 0xFE) co_return std::nullopt;
    in.advance();
    if (byte == '"') co_return text;
    text += static_cast<char>(byte);
  }
  co_return std::nullopt;
}

// `"key":` and the space around it.
Task<std::optional<std::string>> key(AnswerReader& in) {
  co_await accept_space(in);
  std::optional<std::string> word = co_await short_string(in);
  if (!word) co_return std::nullopt;
  co_await accept_space(in);
  if (!co_await accept(in, ":")) co_return std::nullopt;
  co_await accept_space(in);
  co_return word;
}

Task<bool> comma(AnswerReader& in) {
  co_await accept_space(in);
  co_return co_await accept(in, ",");
}

// The head of a call up to its arguments' first brace; `name` of a declared function, and how many
// objects are open.
struct Head {
  std::string name;
  int objects = 0;
  bool has_arguments = false;
};

Task<std::optional<Head>> head(AnswerReader& in) {
  Head head;
  co_await accept_space(in);
  if (!co_await accept(in, "{")) co_return std::nullopt;
  head.objects =
      co_await accept(in, "{") ? 2 : 1;  // Qwen2.5-Coder's template shows "{{" by mistake
  for (int words = 0;; ++words) {
    if (words == kMostWords) co_return std::nullopt;
    const std::optional<std::string> word = co_await key(in);
    if (!word) co_return std::nullopt;
    if (*word == "function" && head.objects == 1 && co_await accept(in, "{")) {
      head.objects = 2;
      continue;
    }
    const bool names = *word == "name" || *word == "function";
    if (!names && *word != "type" && *word != "id") co_return std::nullopt;
    std::optional<std::string> value = co_await short_string(in);
    if (!value) co_return std::nullopt;
    if (names) {
      head.name = *std::move(value);
      break;
    }
    if (!co_await comma(in)) co_return std::nullopt;
  }
  if (!in.tools().contains(head.name)) co_return std::nullopt;
  while (co_await comma(in)) {
    const std::optional<std::string> word = co_await key(in);
    if (!word) co_return std::nullopt;
    if (*word == "arguments" || *word == "parameters") {
      if (co_await in.peek() == '{') {
        head.has_arguments = true;
        co_return head;
      }
      if (!co_await accept(in, "null")) co_return std::nullopt;
    } else if ((*word != "type" && *word != "id") || !co_await short_string(in)) {
      co_return std::nullopt;
    }
  }
  if (!co_await accept(in, "}")) co_return std::nullopt;
  --head.objects;
  co_return head;
}

// What stands behind the arguments: ids, and the braces of the call.
Task<> tail(AnswerReader& in, int objects) {
  while (objects > 0) {
    const std::size_t before = in.undecided().size();
    if (co_await comma(in)) {
      const bool known = (co_await key(in)).has_value() && (co_await short_string(in)).has_value();
      if (known) continue;
      in.go_back_to(before);
      break;
    }
    if (!co_await accept(in, "}")) {
      in.go_back_to(before);
      break;
    }
    --objects;
  }
  in.skip(AnswerChannel::tool_arguments);
}

}  // namespace

Task<bool> pass_arguments(AnswerReader& in) {
  JsonScanner json;
  for (;;) {
    in.advance(json.take(in.rest()));
    in.say(AnswerChannel::tool_arguments);
    if (json.state() == JsonScanner::State::whole) {
      in.complete_call();
      co_return true;
    }
    if (json.state() == JsonScanner::State::broken) co_return false;
    if (!co_await in.more()) co_return false;
  }
}

Task<> pass_arguments_until(AnswerReader& in, std::span<const std::string> ends) {
  if (co_await pass_arguments(in)) co_return;
  const int found = co_await pass_until(in, AnswerChannel::tool_arguments, ends);
  if (found >= 0) in.go_back_to(0);
}

Task<bool> json_call(AnswerReader& in, std::span<const std::string> ends) {
  const std::optional<Head> call = co_await head(in);
  if (!call) co_return false;
  in.begin_call(call->name);
  if (call->has_arguments) {
    co_await pass_arguments_until(in, ends);
  } else {
    in.put_arguments("{}");
    in.complete_call();
  }
  co_await tail(in, call->objects);
  co_return true;
}

Task<> bare_json_calls(AnswerReader& in) {
  const std::vector<std::string> ends = {"```", "</tools>"};
  for (;;) {
    co_await accept_space(in);
    if (in.calls() > 0 && co_await accept(in, ";")) co_await accept_space(in);
    std::string_view close;
    if (co_await accept(in, "```")) {
      co_await accept(in, "json");
      close = ends[0];
    } else if (co_await accept(in, "<tools>")) {
      close = ends[1];
    }
    if (!co_await json_call(in, ends)) {
      in.go_back_to(0);
      co_return;
    }
    const std::size_t before = in.undecided().size();
    co_await accept_space(in);
    if (!co_await accept(in, close)) in.go_back_to(before);
    in.skip(AnswerChannel::content);
  }
}

Task<bool> json_call_list(AnswerReader& in, std::span<const std::string> ends) {
  co_await accept_space(in);
  if (!co_await accept(in, "[")) co_return false;
  if (!co_await json_call(in, ends)) co_return false;
  for (;;) {
    const std::size_t before = in.undecided().size();
    if (!co_await comma(in) || !co_await json_call(in, ends)) {
      in.go_back_to(before);
      break;
    }
  }
  co_await accept_space(in);
  co_await accept(in, "]");
  in.skip(AnswerChannel::content);
  co_return true;
}

std::string json_call_of(CallGrammar& to, std::string_view key) {
  return to.any_of([&](const std::string& name) {
    return CallGrammar::text(fmt::format(R"({{"name": {}, "{}": )", json_string(name), key)) + " " +
           to.arguments(name) + " \"}\"";
  });
}

}  // namespace mlxd
