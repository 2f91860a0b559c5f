#include <string>
#include <utility>

#include <fmt/format.h>

#include "model/quoted.h"
#include "model/vocabulary_reader.h"

namespace mlxd {
namespace {

int token_id(const GgufFile& file, const char* key, const Vocabulary& vocabulary) {
  const auto last = static_cast<std::int64_t>(vocabulary.tokens.size()) - 1;
  return static_cast<int>(file.integer(key, 0, last).value_or(-1));
}

template <class T>
void check_size(const GgufFile& file, const char* key, const std::vector<T>& values,
                const Vocabulary& vocabulary) {
  if (values.size() != vocabulary.tokens.size()) {
    file.fail(in_quotes(key),
              fmt::format("has {} entries for {} tokens", values.size(), vocabulary.tokens.size()));
  }
}

}  // namespace

Vocabulary read_gguf_vocabulary(const GgufFile& file) {
  Vocabulary vocabulary;
  vocabulary.source = file.name();
  const auto model = file.string("tokenizer.ggml.model");
  const auto tokens = file.strings("tokenizer.ggml.tokens");
  if (!model) file.fail("\"tokenizer.ggml.model\"", "is missing");
  if (!tokens || tokens->empty()) file.fail("\"tokenizer.ggml.tokens\"", "is missing or empty");
  vocabulary.model = *model;
  vocabulary.pre_tokenizer = file.string("tokenizer.ggml.pre").value_or("");
  vocabulary.tokens.assign(tokens->begin(), tokens->end());
  if (auto scores = file.numbers("tokenizer.ggml.scores")) {
    check_size(file, "tokenizer.ggml.scores", *scores, vocabulary);
    vocabulary.scores = *std::move(scores);
  }
  if (const auto types = file.integers("tokenizer.ggml.token_type", 0, 6)) {
    check_size(file, "tokenizer.ggml.token_type", *types, vocabulary);
    vocabulary.types.assign(types->begin(), types->end());
  }
  if (const auto merges = file.strings("tokenizer.ggml.merges")) {
    vocabulary.merges.assign(merges->begin(), merges->end());
  }
  // llama.cpp's defaults where the file is silent: SentencePiece adds a space and a BOS.
  const bool sentence_piece = vocabulary.model == "llama";
  vocabulary.add_space_prefix =
      file.boolean("tokenizer.ggml.add_space_prefix").value_or(sentence_piece);
  vocabulary.add_bos = file.boolean("tokenizer.ggml.add_bos_token").value_or(sentence_piece);
  vocabulary.add_eos = file.boolean("tokenizer.ggml.add_eos_token").value_or(false);

  vocabulary.bos = token_id(file, "tokenizer.ggml.bos_token_id", vocabulary);
  vocabulary.eos = token_id(file, "tokenizer.ggml.eos_token_id", vocabulary);
  vocabulary.unknown = token_id(file, "tokenizer.ggml.unknown_token_id", vocabulary);
  add_stop_id(vocabulary, vocabulary.eos);
  add_stop_id(vocabulary, token_id(file, "tokenizer.ggml.eot_token_id", vocabulary));
  add_stop_id(vocabulary, token_id(file, "tokenizer.ggml.eom_token_id", vocabulary));
  const auto text = [&](int id) {
    return id < 0 ? std::string() : vocabulary.tokens[static_cast<std::size_t>(id)];
  };
  vocabulary.bos_token = text(vocabulary.bos);
  vocabulary.eos_token = text(vocabulary.eos);
  vocabulary.chat_template = file.string("tokenizer.chat_template").value_or("");
  return vocabulary;
}

}  // namespace mlxd
