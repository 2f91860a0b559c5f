#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "engine/token_constraint.h"
#include "serve/after_reasoning.h"
#include "serve/parsers/answer_format.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

namespace mlxd {

// Leaves an answer as it is until a call begins in it: from its opener to its end the call is held
// to the grammar, and what follows is free again. In the reasoning nothing is a call. What looks
// like an opener and goes on as no call can, within the same token, is text.
class LazyCalls final : public TokenConstraint {
 public:
  // What all samples of an answer share. `calls` begins with an opener each time.
  struct Shared {
    std::shared_ptr<const Tokenizer> tokenizer;
    std::vector<CallConstraint::Opener> openers;
    ReasoningTokens reasoning;
    std::unique_ptr<GrammarState> calls;
  };
  // `in_reasoning`: the prompt has begun it.
  LazyCalls(std::shared_ptr<const Shared> shared, bool in_reasoning);

  bool fill(std::span<std::uint32_t> allowed) override;
  bool accept(int token) override;
  void rollback(int tokens) override;
  bool terminated() const override { return false; }
  std::unique_ptr<TokenConstraint> fork() const override;

 private:
  // Tokens that can be taken back: drafts are shorter.
  static constexpr std::size_t kMostTakenBack = 256;

  // Where the answer stands between two tokens.
  struct Place {
    bool reasons = false;
    bool whole = true;  // `tail` is all there is
    std::string tail;   // of the text, as long as an opener is, with marks
  };
  // One token: where the answer stood before it, and what it did.
  struct Step {
    Place before;
    int in_call = 0;  // tokens of the grammar that it took
    bool began = false;
    std::unique_ptr<GrammarState> ended;  // the call that it completed
  };

  void append(int token);
  bool try_begin(std::size_t before, Step& step);
  std::unique_ptr<GrammarState> begun_with(const std::string& text, int& taken) const;

  const std::shared_ptr<const Shared> shared_;
  std::size_t longest_ = 0;  // opener, in bytes
  Place place_;
  std::unique_ptr<GrammarState> call_;  // null outside of one
  std::deque<Step> steps_;              // the last of them
};

}  // namespace mlxd
