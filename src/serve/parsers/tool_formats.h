// One grammar for each format of calls: it reads the rest of an answer. Each is in the file of its
// name, whose first lines say what it reads.
#pragma once

#include "serve/parsers/answer_reader.h"

namespace mlxd {

Parse<> read_hermes(AnswerReader& in);

}  // namespace mlxd
