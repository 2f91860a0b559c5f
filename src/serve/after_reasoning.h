#pragma once

#include <memory>
#include <vector>

#include "engine/token_constraint.h"

namespace mlxd {

// The tokens with which a model begins and ends its reasoning; -1: it does not reason, or its marks
// are not tokens.
struct ReasoningTokens {
  int begin = -1;
  int end = -1;
};

// Holds to `then` what comes after the reasoning with which an answer may begin: in it all tokens
// may come but `ends`, which end an answer. `begun`: the prompt has ended with its mark.
std::unique_ptr<TokenConstraint> after_reasoning(std::unique_ptr<TokenConstraint> then,
                                                 ReasoningTokens marks, std::vector<int> ends,
                                                 bool begun);

}  // namespace mlxd
