// One grammar for each format of calls: it reads the rest of an answer. Each is in the file of its
// name (`read_deepseek_v32` in minimax.cc, `read_lfm2` in pythonic.cc), whose first lines say what
// it reads.
#pragma once

#include "serve/parsers/answer_reader.h"

namespace mlxd {

Task<> read_deepseek(AnswerReader& in);
Task<> read_deepseek_v32(AnswerReader& in);
Task<> read_gemma4(AnswerReader& in);
Task<> read_glm(AnswerReader& in);
Task<> read_granite(AnswerReader& in);
Task<> read_harmony(AnswerReader& in);
Task<> read_hermes(AnswerReader& in);
Task<> read_kimi(AnswerReader& in);
Task<> read_lfm2(AnswerReader& in);
Task<> read_llama3(AnswerReader& in);
Task<> read_minimax(AnswerReader& in);
Task<> read_mistral(AnswerReader& in);
Task<> read_pythonic(AnswerReader& in);
Task<> read_qwen3_coder(AnswerReader& in);

}  // namespace mlxd
