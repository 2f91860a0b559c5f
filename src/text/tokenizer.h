// text: between strings and tokens. Tokenizer and ChatTemplate wrap the Rust crate rust/textkit;
// Detokenizer and StopMatcher turn a growing token sequence into text that may be sent. Called by
// serve/ on the text pool and the I/O thread, never on the inference thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/vocabulary.h"
#include "text/rendered_chat.h"

struct textkit_tokenizer;

namespace mlxd {

// A place in a rendered chat, behind an added token that its template wrote, at which it may be
// tokenised in two parts.
struct ChatBorder {
  std::size_t at = 0;  // byte
  // Another chat that is the same up to this byte, the client's ranges too, has the border as well.
  std::size_t settled = 0;
  std::size_t tokens = 0;  // those before it
};

// Immutable; any thread may call any function.
class Tokenizer {
 public:
  // Throws LoadError that names the vocabulary's source and what is wrong with it.
  static std::shared_ptr<const Tokenizer> load(const Vocabulary& vocabulary);
  virtual ~Tokenizer() = default;

  // Special tokens written in `text` (such as "<|im_end|>") become their ids only when
  // `parse_special`: true for a rendered template, false for a user's own text. `add_special` puts
  // what the model wants around a text (bos, eos, the tokens of a post-processor) around it; what
  // goes in front is left out where the text begins with the same. Text must be valid UTF-8.
  Result<std::vector<int>> encode(std::string_view text, bool add_special,
                                  bool parse_special) const {
    return encode_marked(text, {}, add_special, parse_special);
  }

  // A rendered chat as it is, nothing put around it: the template has written every special token
  // that the model wants to see. Added tokens, special or not, are recognised only where the whole
  // of one is the template's own; what the client chose is text, and tokenised together with its
  // neighbours.
  Result<std::vector<int>> encode_chat(const RenderedChat& chat) const {
    return encode_marked(chat.text, chat.client, false, true);
  }

  // Appends the tokens of what stands behind `from`, which is 0 or a border of the chat whose
  // tokens are in front, and the borders that are settled there. All tokens are then as
  // encode_chat's.
  virtual Result<void> continue_chat(const RenderedChat& chat, std::size_t from,
                                     std::vector<int>& tokens,
                                     std::vector<ChatBorder>& borders) const;

  // As encode; no added token is recognised in the ranges of `client`, nor one that touches them.
  virtual Result<std::vector<int>> encode_marked(std::string_view text,
                                                 std::span<const ByteRange> client,
                                                 bool add_special, bool parse_special) const = 0;

  // The bytes that token `id` stands for: partial UTF-8 is possible, control tokens are "" (their
  // text with `show_special`). An id outside the vocabulary is "".
  virtual std::string_view token_bytes(int id, bool show_special = false) const = 0;

  // What token `id` adds to a text that is shown, where decoders drop repeats; `previous` is kept
  // by the caller, -1 at first.
  std::string_view shown_bytes(int id, int& previous) const;

  // The text of a whole sequence, joined as the model's decoder joins it; invalid UTF-8 becomes
  // U+FFFD.
  std::string decode(std::span<const int> tokens) const;

  virtual int vocab_size() const = 0;
  virtual bool is_special(int id) const = 0;
  // The id of the token that is written exactly so in the model's file, -1: none.
  virtual int token_id(std::string_view token) const = 0;
  // No text has fewer tokens than its bytes divided by this. 0: not known, as the tokeniser may
  // shorten a text first.
  virtual std::size_t longest_token_bytes() const = 0;
  // The decoder drops one leading space of the text (SentencePiece with a space prefix).
  virtual bool strips_leading_space() const = 0;
  // It drops one trailing space of the text (the older BPE, which marks the ends of words).
  virtual bool strips_trailing_space() const { return false; }
  // A token that is shown twice in a row counts once (CTC).
  virtual bool merges_repeats() const { return false; }
  // Textkit's own, for what else is made of it there; null: it is another's.
  virtual const textkit_tokenizer* handle() const { return nullptr; }
};

}  // namespace mlxd
