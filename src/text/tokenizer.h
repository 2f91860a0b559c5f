// text: between strings and tokens. Tokenizer and ChatTemplate wrap the Rust crate rust/textkit;
// Detokenizer and StopMatcher turn a growing token sequence into text that may be sent. Called by
// serve/ on the text pool and the I/O thread, never on the inference thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/vocabulary.h"

namespace mlxd {

// Immutable; any thread may call any function.
class Tokenizer {
 public:
  // Throws LoadError that names the vocabulary's source and what is wrong with it.
  static std::shared_ptr<const Tokenizer> load(const Vocabulary& vocabulary);
  virtual ~Tokenizer() = default;

  // Special tokens written in `text` (such as "<|im_end|>") become their ids only when
  // `parse_special`: true for a rendered template, false for a user's own text. `add_special` puts
  // the model's bos (and eos) where the model wants them. Text must be valid UTF-8.
  virtual Result<std::vector<int>> encode(std::string_view text, bool add_special,
                                          bool parse_special) const = 0;

  // The bytes that token `id` stands for: partial UTF-8 is possible, control tokens are "" (their
  // text with `show_special`). An id outside the vocabulary is "".
  virtual std::string_view token_bytes(int id, bool show_special = false) const = 0;

  // The text of a whole sequence. Where the model's decoder strips the first token's leading space
  // (SentencePiece), so does this; invalid UTF-8 becomes U+FFFD.
  std::string decode(std::span<const int> tokens) const;

  virtual int vocab_size() const = 0;
  virtual bool is_special(int id) const = 0;
  // The decoder drops one leading space of the text (SentencePiece with a space prefix).
  virtual bool strips_leading_space() const = 0;
};

}  // namespace mlxd
