#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/model_files.h"
#include "serve/served_model.h"

namespace mlxd {

// Makes a model that answers out of opened files: its tokeniser, its template, the parser of its
// answers, the ids that end its turns, and the engine that `start_engine` gives. `version` is the
// program's. Throws LoadError for a tokeniser or template that cannot be used (before the engine is
// started), and what `start_engine` throws.
std::unique_ptr<ServedModel> load_model(
    const ModelFiles& files, std::string id, std::vector<std::string> aliases,
    std::string_view version, const std::function<std::unique_ptr<Engine>()>& start_engine);

// The vocabulary's stop ids, the end of a turn that the template writes ("<|im_end|>",
// "<end_of_turn>", ...) and the end of a text, where the vocabulary has them as control tokens.
std::vector<int> stop_ids_of(const Vocabulary& vocabulary, const Tokenizer& tokenizer);

}  // namespace mlxd
