#pragma once

#include <filesystem>

#include "model/json_fields.h"
#include "model/vocabulary.h"
#include "model/weights/gguf.h"

namespace mlxd {

// The vocabulary and chat template of a GGUF file (keys tokenizer.*). Ids are checked against the
// token list, lists against each other; throws LoadError otherwise.
Vocabulary read_gguf_vocabulary(const GgufFile& file);

// The same of a Hugging Face folder: tokenizer.json (required), tokenizer_config.json,
// added_tokens.json, special_tokens_map.json, generation_config.json, chat_template.jinja or .json,
// and `config`, its config.json. Ids that end a generation must be below `vocab_size`.
Vocabulary read_folder_vocabulary(const std::filesystem::path& folder, const JsonFields& config,
                                  int vocab_size);

// Adds an id to those that end a generation, unless it is there or negative.
void add_stop_id(Vocabulary& vocabulary, int id);

}  // namespace mlxd
