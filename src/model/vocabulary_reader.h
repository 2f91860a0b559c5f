#pragma once

#include "model/vocabulary.h"
#include "model/weights/gguf.h"

namespace mlxd {

// The vocabulary and chat template of a GGUF file (keys tokenizer.*). Ids are checked against the
// token list, lists against each other; throws LoadError otherwise.
Vocabulary read_gguf_vocabulary(const GgufFile& file);

// Adds an id to those that end a generation, unless it is there or negative.
void add_stop_id(Vocabulary& vocabulary, int id);

}  // namespace mlxd
