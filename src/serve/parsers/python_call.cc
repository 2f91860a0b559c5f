#include "serve/parsers/python_call.h"

#include "serve/parsers/arguments.h"
#include "serve/parsers/json_scanner.h"

namespace mlxd {
namespace {

constexpr int kMostNested = 64;

bool is_space(int byte) { return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r'; }

// An escape behind its backslash, as JSON writes it. The Unicode ones stay as they are.
std::string escaped_as_json(char c) {
  switch (c) {
    case 'n':
    case 't':
    case 'r':
    case 'b':
    case 'f':
    case '"':
    case '\\':
    case '/':
    case 'u':
      return {'\\', c};
    case '\'':
      return "'";
    case '\n':
      return {};
    default:
      return std::string("\\\\") + json_escaped({&c, 1});
  }
}

// A string, its opening quotation mark is behind the cursor. Only four digits follow "\u", since
// all else would be no JSON.
Task<bool> string_value(AnswerReader& in, char quote) {
  in.put_arguments("\"");
  const std::vector<std::string> stops = {std::string(1, quote), "\\"};
  for (;;) {
    const int stop = co_await pass_string_until(in, stops);
    if (stop < 0) co_return false;
    if (stop == 0) {
      in.put_arguments("\"");
      co_return true;
    }
    const int byte = co_await in.peek();
    if (byte == AnswerReader::kEnd) co_return false;
    if (byte >= 0x80) {  // no escape
      in.put_arguments("\\\\");
      continue;
    }
    in.advance();
    std::string json = escaped_as_json(static_cast<char>(byte));
    for (int i = 0; byte == 'u' && i < 4; ++i) {
      const int digit = co_await in.peek();
      const bool is_hex = (digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f') ||
                          (digit >= 'A' && digit <= 'F');
      if (!is_hex) {
        json.insert(0, "\\");
        break;
      }
      in.advance();
      json += static_cast<char>(digit);
    }
    in.put_arguments(std::move(json));
  }
}

// A number, a constant, or a word without quotation marks.
Task<bool> bare_value(AnswerReader& in) {
  in.put_arguments({});
  for (;;) {
    const int byte = co_await in.peek();
    if (byte == AnswerReader::kEnd) co_return false;
    if (byte == ',' || byte == ')' || byte == ']' || byte == '}' || byte == ':') break;
    in.advance();
  }
  const std::string text = in.undecided_text();
  in.put_arguments(text.empty() ? "null" : typed_json(text, kAnyJson));
  co_return true;
}

Task<bool> value(AnswerReader& in, int depth);

// Values between brackets, in a dictionary each with its key.
Task<bool> values(AnswerReader& in, char close, bool keyed, int depth) {
  in.put_arguments(keyed ? "{" : "[");
  for (bool first = true;; first = false) {
    co_await accept_space(in);
    if (co_await in.peek() == close) {
      in.advance();
      in.put_arguments(keyed ? "}" : "]");
      co_return true;
    }
    if (!first) {
      if (!co_await accept(in, ",")) co_return false;
      co_await accept_space(in);
      if (co_await in.peek() == close) continue;  // a comma may be last
      in.put_arguments(", ");
    }
    if (keyed) {
      const int quote = co_await in.peek();
      if (quote != '"' && quote != '\'') co_return false;
      in.advance();
      if (!co_await string_value(in, static_cast<char>(quote))) co_return false;
      co_await accept_space(in);
      if (!co_await accept(in, ":")) co_return false;
      in.put_arguments(": ");
    }
    if (!co_await value(in, depth + 1)) co_return false;
  }
}

Task<bool> value(AnswerReader& in, int depth) {
  if (depth > kMostNested) co_return false;
  co_await accept_space(in);
  const int byte = co_await in.peek();
  if (byte == '"' || byte == '\'') {
    in.advance();
    co_return co_await string_value(in, static_cast<char>(byte));
  }
  if (byte == '[' || byte == '(' || byte == '{') {
    in.advance();
    const char close = byte == '[' ? ']' : byte == '(' ? ')' : '}';
    co_return co_await values(in, close, byte == '{', depth);
  }
  co_return co_await bare_value(in);
}

// The name and "(" of a declared function.
Task<std::optional<std::string>> head(AnswerReader& in) {
  const std::vector<std::string> open = {"("};
  co_await accept_space(in);
  std::optional<std::string> name = co_await word_until(in, open);
  if (!name || !in.tools().contains(*name)) co_return std::nullopt;
  co_return name;
}

// Behind "(" up to ")". False: what stands there is no Python.
Task<bool> arguments_of(AnswerReader& in, std::string_view tool) {
  Arguments arguments(in, tool);
  const std::vector<std::string> key_ends = {"="};
  for (bool first = true;; first = false) {
    co_await accept_space(in);
    if (co_await accept(in, ")")) {
      arguments.end();
      co_return true;
    }
    if (!first && !co_await accept(in, ",")) co_return false;
    co_await accept_space(in);
    if (co_await in.peek() == ')') continue;
    std::optional<std::string> key = co_await word_until(in, key_ends);
    if (!key) co_return false;
    while (!key->empty() && is_space(key->back())) key->pop_back();
    if (!arguments.begin(*key)) co_return false;
    if (!co_await value(in, 0)) co_return false;
  }
}

}  // namespace

Task<bool> python_calls(AnswerReader& in) {
  co_await accept_space(in);
  if (!co_await accept(in, "[")) co_return false;
  std::optional<std::string> name = co_await head(in);
  if (!name) co_return false;
  while (name) {
    in.begin_call(*name);
    if (!co_await arguments_of(in, *name)) co_return true;
    const std::size_t before = in.undecided().size();
    co_await accept_space(in);
    name.reset();
    if (co_await accept(in, ",")) name = co_await head(in);
    if (!name) in.go_back_to(before);
  }
  co_await accept_space(in);
  co_await accept(in, "]");
  in.skip(AnswerChannel::content);
  co_return true;
}

// Values are JSON, which the reader takes as well, but for the constants: these are as the models
// have learnt to write them.
std::string python_arguments_of(CallGrammar& to, const std::string& tool) {
  return to.each_argument(tool, "\", \"", [&](const ToolParameter& parameter) {
    const bool is_flag = parameter.types == kJsonBoolean;
    return CallGrammar::text(parameter.name + "=") + " " +
           (is_flag ? "(\"True\" | \"False\")" : to.argument(tool, parameter));
  });
}

std::string python_call_of(CallGrammar& to) {
  return to.any_of([&](const std::string& name) {
    return CallGrammar::text(name + "(") + " " + python_arguments_of(to, name) + " \")\"";
  });
}

std::string python_calls_of(CallGrammar& to) {
  return "\"[\" " + to.list(to.rule(python_call_of(to)), "\", \"") + " \"]\"";
}

}  // namespace mlxd
