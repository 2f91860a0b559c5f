// For each format of calls a grammar that reads the rest of an answer, and one that calls are held
// to. Both are in the file of the format's name (`deepseek_v32` in minimax.cc, `lfm2` in
// pythonic.cc), whose first lines say what is read.
#pragma once

#include "serve/parsers/answer_reader.h"
#include "serve/parsers/call_grammar.h"

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

CallForms deepseek_calls(CallGrammar& to);
CallForms deepseek_v32_calls(CallGrammar& to);
CallForms gemma4_calls(CallGrammar& to);
CallForms glm_calls(CallGrammar& to);
CallForms granite_calls(CallGrammar& to);
CallForms harmony_calls(CallGrammar& to);
CallForms hermes_calls(CallGrammar& to);
CallForms kimi_calls(CallGrammar& to);
CallForms lfm2_calls(CallGrammar& to);
CallForms llama3_calls(CallGrammar& to);
CallForms minimax_calls(CallGrammar& to);
CallForms mistral_calls(CallGrammar& to);
CallForms pythonic_calls(CallGrammar& to);
CallForms qwen3_coder_calls(CallGrammar& to);

}  // namespace mlxd
