// What the formats share whose calls are JSON.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "serve/parsers/answer_reader.h"
#include "serve/parsers/call_grammar.h"

namespace mlxd {

// A JSON object said as the arguments of the call that has begun, as it comes. False: it breaks
// off, and the cursor stands where.
Task<bool> pass_arguments(AnswerReader& in);

// The arguments of a call whose name has been said: pass_arguments, and if these break off, all
// that comes before one of `ends`, as it is written.
Task<> pass_arguments_until(AnswerReader& in, std::span<const std::string> ends);

// {"name": "f", "arguments": {...}} from the cursor on, its keys in this order; "parameters" means
// the same as "arguments", and nothing of it that there are none. "id" and "type" may stand beside,
// and all of it inside of {"type": "function", "function": ...}. False: it is no call of a declared
// function, and nothing was said. Broken arguments end before one of `ends`.
Task<bool> json_call(AnswerReader& in, std::span<const std::string> ends);

// An answer that is calls from its first byte on, without the marks of its format: bare, or in a
// fence of code, as small models write them. Nothing is read where it is none.
Task<> bare_json_calls(AnswerReader& in);

// [call, call, ...], as json_call.
Task<bool> json_call_list(AnswerReader& in, std::span<const std::string> ends);

// A call as JSON, for a grammar: its arguments are called `key`.
std::string json_call_of(CallGrammar& to, std::string_view key);

}  // namespace mlxd
