#pragma once

#include "serve/parsers/answer_reader.h"

namespace mlxd {

// Calls as Python writes them, in a list: [f(a=1, b='x'), g()]. Values are literals, and come out
// as JSON. False: it is no call of a declared function, and nothing was said.
Task<bool> python_calls(AnswerReader& in);

}  // namespace mlxd
