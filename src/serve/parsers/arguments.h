#pragma once

#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/parsers/answer_reader.h"

namespace mlxd {

// The arguments of the call that has begun, of a format that is not JSON, as the JSON object that
// clients get: said as they come.
class Arguments {
 public:
  // `tool` has been declared.
  Arguments(AnswerReader& in, std::string_view tool)
      : in_(in), tool_(in.tools().find(tool)->second) {}

  // The value of this key comes next, what is undecided stands before it. False: there was one
  // already, and the next is not to be said.
  bool begin(std::string_view key);
  void end();

  unsigned types_of(std::string_view key) const { return tool_.types_of(key); }

 private:
  AnswerReader& in_;
  const DeclaredTool& tool_;
  std::set<std::string, std::less<>> keys_;
};

// A value that is written as bare text, as JSON of one of `types`: what does not fit them is a
// string, so it is always JSON.
std::string typed_json(std::string_view text, unsigned types);

// Says the text up to one of `ends` as the inside of a JSON string; the mark is undecided then, and
// behind the cursor. -1: the answer is over.
Task<int> pass_string_until(AnswerReader& in, std::span<const std::string> ends);

// How a format writes arguments between tags.
struct TaggedArguments {
  // What stands between a key and its value, and what types that says the value has.
  struct ValueBegin {
    std::string mark;
    std::optional<unsigned> types = {};
  };
  std::string key_begin, key_end;
  std::vector<ValueBegin> value_begins;  // the first that is there
  std::vector<std::string> value_ends;
  std::string call_end;
};

// Arguments in tags, up to the end of the call. What ends a value is its end only where another
// argument or the end of the call follows, so values may hold tags themselves. A string is said as
// it comes; any other value when it is whole.
Task<> pass_tagged_arguments(AnswerReader& in, std::string_view tool,
                             const TaggedArguments& format);

}  // namespace mlxd
