#include "serve/parsers/arguments.h"

#include <algorithm>
#include <utility>

#include "serve/parsers/json_scanner.h"

namespace mlxd {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \n\t\r";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

unsigned type_of_json(std::string_view json) {
  switch (json.front()) {
    case '"':
      return kJsonString;
    case '{':
      return kJsonObject;
    case '[':
      return kJsonArray;
    case 't':
    case 'f':
      return kJsonBoolean;
    case 'n':
      return kJsonNull;
    default:
      return kJsonNumber | kJsonInteger;
  }
}

// As Python writes it, or JSON.
std::string_view constant_of(std::string_view word) {
  if (word == "True" || word == "true") return "true";
  if (word == "False" || word == "false") return "false";
  if (word == "None" || word == "null") return "null";
  return {};
}

// Another argument or the end of the call follows the cursor, which stays.
Task<bool> value_ends_here(AnswerReader& in, const TaggedArguments& format) {
  const std::size_t before = in.undecided().size();
  co_await accept_space(in);
  bool ends = co_await in.peek() == AnswerReader::kEnd;
  if (!ends) ends = co_await accept(in, format.key_begin);
  if (!ends) ends = co_await accept(in, format.call_end);
  in.go_back_to(before);
  co_return ends;
}

// A value up to its end. False: the answer is over before.
Task<bool> pass_value(AnswerReader& in, unsigned types, bool is_said,
                      const TaggedArguments& format) {
  const bool streams = is_said && types == kJsonString;
  if (streams) in.put_arguments("\"");
  for (;;) {
    const int mark = in.find(format.value_ends);
    if (streams) in.put_arguments(json_escaped(in.undecided_text()));
    if (mark >= 0) {
      std::string value = in.undecided_text();
      const std::size_t before = in.undecided().size();
      in.advance(format.value_ends[static_cast<std::size_t>(mark)].size());
      if (co_await value_ends_here(in, format)) {
        in.put_arguments(streams ? "\"" : is_said ? typed_json(value, types) : "");
        co_return true;
      }
      in.go_back_behind(before);  // a part of the value
      continue;
    }
    if (!co_await in.more()) co_return false;
  }
}

}  // namespace

bool Arguments::begin(std::string_view key) {
  const bool first = keys_.empty();
  const bool is_new = keys_.emplace(key).second;
  in_.put_arguments(is_new ? (first ? "{" : ", ") + json_string(key) + ": " : std::string());
  return is_new;
}

void Arguments::end() {
  in_.put_arguments(keys_.empty() ? "{}" : "}");
  in_.complete_call();
}

std::string typed_json(std::string_view text, unsigned types) {
  const std::string_view value = trimmed(text);
  const bool any = types == kAnyJson;
  const std::string_view constant = constant_of(value);
  const std::string_view json = constant.empty() ? value : constant;
  if (!json.empty() && is_json(json)) {
    const unsigned type = type_of_json(json);
    // Nothing can be no string where no string is allowed.
    const bool fits =
        any || (types & type) != 0 || (type == kJsonNull && (types & kJsonString) == 0);
    if (fits && !(type == kJsonString && !any)) return std::string(json);
  }
  return json_string(any || (types & kJsonString) != 0 ? text : value);
}

Task<int> pass_string_until(AnswerReader& in, std::span<const std::string> ends) {
  for (;;) {
    const int mark = in.find(ends);
    in.put_arguments(json_escaped(in.undecided_text()));
    if (mark >= 0) {
      in.advance(ends[static_cast<std::size_t>(mark)].size());
      co_return mark;
    }
    if (!co_await in.more()) co_return -1;
  }
}

Task<> pass_tagged_arguments(AnswerReader& in, std::string_view tool,
                             const TaggedArguments& format) {
  Arguments arguments(in, tool);
  const std::vector<std::string> key_ends = {format.key_end};
  for (;;) {
    co_await accept_space(in);
    if (co_await accept(in, format.key_begin)) {
      const std::optional<std::string> key = co_await word_until(in, key_ends);
      if (!key) co_return;
      unsigned types = arguments.types_of(*key);
      for (const auto& begin : format.value_begins) {
        if (!co_await accept(in, begin.mark)) continue;
        types = begin.types.value_or(types);
        break;
      }
      const bool is_said = arguments.begin(*key);
      if (!co_await pass_value(in, types, is_said, format)) co_return;
      continue;
    }
    if (co_await in.peek() == AnswerReader::kEnd) co_return;
    co_await accept(in, format.call_end);
    break;
  }
  arguments.end();
}

}  // namespace mlxd
