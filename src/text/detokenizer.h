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
  explicit Detokenizer(std::shared_ptr<const Tokenizer> tokenizer);

  // Whole characters only; often "".
  std::string push(int token);
  // What is held back, with U+FFFD for what never became a character.
  std::string finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string held_;  // at most 3 bytes
  bool at_start_ = true;
};

}  // namespace mlxd
