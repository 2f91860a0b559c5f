#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/model_files.h"
#include "serve/parsers/answer_format.h"
#include "serve/served_model.h"

namespace mlxd {

// All of a served model but its engine, out of opened files: its tokeniser, its template, the ids
// that end its turns, the parser of its answers (`parsers`, or what the template shows). `version`
// is the program's, `backend` the name of the one that will run it.
// Throws LoadError for a tokeniser or template that cannot be used.
ServedModel make_served_model(const ModelFiles& files, std::string id, std::string_view version,
                              std::string_view backend, const ParserNames& parsers = {});

// The vocabulary's stop ids, its eos token, the end of a turn that the template writes
// ("<|im_end|>", "<end_of_turn>", ...) and the end of a text, where the vocabulary has them as
// control tokens.
std::vector<int> stop_ids_of(const Vocabulary& vocabulary, const Tokenizer& tokenizer);

}  // namespace mlxd
