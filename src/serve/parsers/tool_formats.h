// One grammar for each format of calls: it reads the rest of an answer. Each is in the file of its
// name (`read_deepseek_v32` in minimax.cc, `read_lfm2` in pythonic.cc), whose first lines say what
// it reads.
#pragma once

#include "serve/parsers/answer_reader.h"

namespace mlxd {

Parse<> read_deepseek(AnswerReader& in);
Parse<> read_deepseek_v32(AnswerReader& in);
Parse<> read_gemma4(AnswerReader& in);
Parse<> read_glm(AnswerReader& in);
Parse<> read_granite(AnswerReader& in);
Parse<> read_harmony(AnswerReader& in);
Parse<> read_hermes(AnswerReader& in);
Parse<> read_kimi(AnswerReader& in);
Parse<> read_lfm2(AnswerReader& in);
Parse<> read_llama3(AnswerReader& in);
Parse<> read_minimax(AnswerReader& in);
Parse<> read_mistral(AnswerReader& in);
Parse<> read_pythonic(AnswerReader& in);
Parse<> read_qwen3_coder(AnswerReader& in);

}  // namespace mlxd
