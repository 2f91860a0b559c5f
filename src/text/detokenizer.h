#pragma once

#include <memory>
#include <string>

#include "text/tokenizer.h"

namespace mlxd {

// Turns one sequence's tokens into text as they come, holding back the bytes of an unfinished
// UTF-8 character. The pieces, joined with finish(), equal Tokenizer::decode of all tokens. One
// sequence, one thread.
class Detokenizer {
 public:
  // Where is the text that these tokens begin? A decoder that strips a leading space does so at the
  // start of a text alone, not where a text that is there already goes on.
  enum class Begin { text, continuation };
  explicit Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, Begin begin = Begin::text);

  // Whole characters only; often "".
  std::string push(int token);
  // What is held back, with U+FFFD for what never became a character.
  std::string finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string held_;   // at most 3 bytes: an unfinished character, a space that may be last
  int previous_ = -1;  // the token shown last
  bool strip_space_;   // nothing has come yet, and a leading space is to go
};

}  // namespace mlxd
