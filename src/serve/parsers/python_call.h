#pragma once

#include "serve/parsers/answer_reader.h"
#include "serve/parsers/call_grammar.h"

namespace mlxd {

// Calls as Python writes them, in a list: [f(a=1, b='x'), g()]. Values are literals, and come out
// as JSON. False: it is no call of a declared function, and nothing was said.
Task<bool> python_calls(AnswerReader& in);

// For a grammar: such a list, one call of it, and what stands between a call's brackets.
std::string python_calls_of(CallGrammar& to);
std::string python_call_of(CallGrammar& to);
std::string python_arguments_of(CallGrammar& to, const std::string& tool);

}  // namespace mlxd
